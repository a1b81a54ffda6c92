"""A clock that stands still until a test moves it.

Knows sleepers and their times. Knows nothing of who sleeps; it satisfies the Clock protocol of every shell.
"""

import asyncio
import heapq
from itertools import count


class FakeClock:
    """Monotonic seconds that pass only in `advance`. It belongs to one event loop."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved that far; zero and less only let others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many sleeps have not ended."""
        return sum(1 for _, _, woken in self._sleepers if not woken.done())

    async def advance(self, seconds: float) -> None:
        """Move the clock, waking each sleeper at its own time and letting it run before the clock goes on."""
        until = self._now + seconds
        await self._let_run()
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not woken.done():
                woken.set_result(None)
                await self._let_run()
        self._now = until
        await self._let_run()

    async def _let_run(self) -> None:
        # A woken task may need several turns of the loop before it sleeps again.
        for _ in range(10):
            await asyncio.sleep(0)
