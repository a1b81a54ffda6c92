"""The clock that processes wait by: monotonic, so a wrong time of day changes nothing.

Knows how to wait. Knows nothing of what is waited for. A fake is in policy_controller/testing/clock.py.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Clock(Protocol):
    """Monotonic seconds and a way to let them pass."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """The computer's monotonic clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float | None) -> None:
    """Return when the event is set or after that many seconds, whichever is first; None waits for the event alone."""
    if event.is_set():
        return
    if seconds is None:
        await event.wait()
        return
    waits = {asyncio.create_task(event.wait()), asyncio.create_task(clock.sleep(seconds))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; cancels it and raises TimeoutError when it takes longer than that many seconds."""
    working, late = asyncio.create_task(work), asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({working, late}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise TimeoutError
    finally:
        working.cancel()
        late.cancel()
