"""An event loop whose seconds are shorter than the computer's by a stated factor, from when it is told to, and the clock that goes by it.

Knows asyncio's timers: whatever sleeps, waits or times out in the loop does so the faster, with the numbers it has. Knows nothing
of what runs in it. Work takes as long as it takes: in the loop's seconds that is the factor times as long.
"""

import asyncio
import selectors
from typing import Final

FACTOR: Final = 90.0
"""An hour of the loop takes 40 s. A request that takes 5 ms of work takes half a second of the loop then."""


class _Selector(selectors.DefaultSelector):
    factor = 1.0

    def select(self, timeout: float | None = None) -> "list[tuple[selectors.SelectorKey, int]]":
        return super().select(timeout if timeout is None else timeout / self.factor)


class CompressedLoop(asyncio.SelectorEventLoop):
    """Use as the loop factory of asyncio.Runner. Until `compress` its seconds are the computer's."""

    def __init__(self) -> None:
        self._waiting = _Selector()
        self._since = self._until_then = 0.0
        super().__init__(self._waiting)

    def time(self) -> float:
        """Seconds of the loop."""
        return self._until_then + (super().time() - self._since) * self._waiting.factor

    def compress(self) -> None:
        """Seconds are shorter from now on."""
        self._until_then, self._since = self.time(), super().time()
        self._waiting.factor = FACTOR


class LoopClock:
    """The running loop's seconds; satisfies the Clock protocol of every shell."""

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
