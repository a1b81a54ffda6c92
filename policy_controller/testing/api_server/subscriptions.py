"""One watcher's queue: bounded, so that a watcher that does not read costs a known amount of memory.

Knows nothing of what it carries. It belongs to one event loop.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable
from typing import Final, Generic, TypeVar

QUEUE_LIMIT: Final = 2_000  # changes that may wait for one watcher

ItemT = TypeVar("ItemT")


class Reading(enum.Enum):
    """Whether more may come."""

    OPEN = "open"
    CLOSED = "closed"


class Subscription(Generic[ItemT]):
    """Changes that wait to be taken by one watcher.

    When more than `QUEUE_LIMIT` wait, the subscription closes and `on_overrun` is called, once: its taker may be stuck
    in a write that will never end, so somebody else must end it.
    """

    def __init__(self, on_overrun: Callable[[], None]) -> None:
        self._waiting: list[ItemT] = []
        self._wake = asyncio.Event()
        self._on_overrun = on_overrun
        self.reading = Reading.OPEN

    def offer(self, item: ItemT) -> None:
        """Appends an item, unless closed."""
        if self.reading is Reading.CLOSED:
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            self.close()
            self._on_overrun()
            return
        self._waiting.append(item)
        self._wake.set()

    def close(self) -> None:
        """Nothing more will be appended; what waits can still be taken."""
        self.reading = Reading.CLOSED
        self._wake.set()

    async def take(self, seconds: float) -> list[ItemT]:
        """All that waits, as soon as something does; empty after that many seconds without anything."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        if self.reading is Reading.OPEN:
            self._wake.clear()
        taken, self._waiting = self._waiting, []
        return taken
