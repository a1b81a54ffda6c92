"""Watching one pair: a probe every few milliseconds, to date the first packet with another verdict.

Knows the order and the times of its probes. Each sends one packet only: a retransmission would date the
change too early.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.probe.model import Outcome, ProbeError, ProbeResult

CONFIRMED_BY: Final = 3
"""So many probes in a row have to agree: one lost packet is no change of policy."""


class Watch:
    """Made by Prober.watch; an async context manager that asks while it is open."""

    def __init__(self, ask: Callable[[], Awaitable[ProbeResult]], period: float) -> None:
        self._ask = ask
        self._period = period
        self._results: list[ProbeResult | None] = []
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._start(self._keep_asking())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = tuple(self._tasks)
        self.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()

    @property
    def results(self) -> Sequence[ProbeResult]:
        """What is known so far, in the order of sending; probes still under way are left out."""
        return [result for result in self._results if result is not None]

    async def changed_to(self, outcome: Outcome, *, since: float, within: float) -> ProbeResult:
        """The first probe sent at or after `since` (time.monotonic()) that had this outcome and whose successors had it too.

        Its `sent_at` dates the change, to within one period. Raises ProbeError after `within` seconds.
        """
        deadline = time.monotonic() + within
        while True:
            found = self._first_of_a_run(outcome, since)
            if found is not None:
                return found
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), deadline - time.monotonic())
            except TimeoutError:
                last = self.results[-1].outcome.value if self.results else "nothing"
                raise ProbeError(f"not {outcome.value} within {within} s; last seen: {last}") from None

    def _first_of_a_run(self, outcome: Outcome, since: float) -> ProbeResult | None:
        run: list[ProbeResult] = []
        for result in self._results:
            if result is None or result.sent_at < since or result.outcome is not outcome:
                run.clear()
                continue
            run.append(result)
            if len(run) == CONFIRMED_BY:
                return run[0]
        return None

    async def _keep_asking(self) -> None:
        due = time.monotonic()
        while True:
            self._results.append(None)
            self._start(self._ask_one(len(self._results) - 1))
            due = max(due + self._period, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _ask_one(self, number: int) -> None:
        self._results[number] = await self._ask()
        self._news.set()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
