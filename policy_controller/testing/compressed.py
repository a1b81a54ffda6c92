"""An event loop whose seconds are shorter than the computer's by a stated factor, and the clock that goes by it.

Knows asyncio's timers: whatever sleeps, waits or times out in the loop does so the faster, with the numbers it has. Knows nothing
of what runs in it. Work takes as long as it takes: in the loop's seconds that is the factor times as long.
"""

import asyncio
import selectors
from typing import Final

FACTOR: Final = 120.0
"""An hour of the loop takes half a minute. A request that takes 5 ms of work takes 0.6 s of the loop then."""


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> "list[tuple[selectors.SelectorKey, int]]":
        return super().select(timeout if timeout is None else timeout / FACTOR)


class CompressedLoop(asyncio.SelectorEventLoop):
    """Use as the loop factory of asyncio.Runner."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        """Seconds of the loop."""
        return super().time() * FACTOR


class LoopClock:
    """The running loop's seconds; satisfies the Clock protocol of every shell."""

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
