"""What the operator is to be told besides answers: kept until there is a stream, and told at a bounded rate.

Knows counts and times. Knows nothing of streams. One entry a process, however often it acted: the operator hears of it at once
and then no more than once in a while, with how often it was.
"""

import asyncio
from dataclasses import replace
from typing import Final

from policy_controller.clock import Clock
from policy_controller.wire.messages import Tampered

MOST_PROCESSES: Final = 16
"""Told apart while they wait to be told of; all others are one."""
OTHERS: Final = "others"
PAUSE_SECONDS: Final = 10.0
"""Between two that are told."""


class Reports:
    """Of one node. Use from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, Tampered] = {}
        self._some = asyncio.Event()
        self._due = clock.now()
        self.merged = 0
        """How often a process was not told apart from others."""

    def add(self, report: Tampered) -> None:
        """Something to be told."""
        process = report.process
        if process not in self._waiting and len(self._waiting) >= MOST_PROCESSES:
            self.merged += 1
            report, process = replace(report, process=OTHERS, number=0), OTHERS
        self._waiting[process] = report.after(self._waiting.get(process))
        self._some.set()

    async def next(self) -> Tampered:
        """Wait until something may be told, and take it."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        left = self._due - self._clock.now()
        if left > 0:
            await self._clock.sleep(left)
        self._due = self._clock.now() + PAUSE_SECONDS
        return self._waiting.pop(next(iter(self._waiting)))
