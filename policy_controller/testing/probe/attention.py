"""A clock that only runs while we pay attention.

"Timed out" must mean that the network dropped the packet, never that this process was late. On a busy
machine the process may not run for half a second, or one turn of its loop may serve 500 sockets. So time
out here is counted in *attentive* time: a heartbeat shows when the loop turned, and of the time between two
beats no more than TWO beats count. Within N attentive seconds the loop has looked at every socket
at least N / (2 * BEAT) times, however long that took by the wall clock.

Knows the loop's time. Knows nothing of probes.
"""

import asyncio
import heapq
from itertools import count
from typing import Any, Final

BEAT: Final = 0.01
"""Seconds between two heartbeats: the resolution of every timeout."""
MOST_PER_BEAT: Final = 2 * BEAT


class Attention:
    """Attentive seconds, summed up from the moments at which the loop was seen turning."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: float | None = None

    def observe(self, now: float) -> None:
        """The loop turned at `now` (seconds of any monotonic clock)."""
        if self._last is not None:
            self.seconds += min(now - self._last, MOST_PER_BEAT)
        self._last = now

    def look_away(self) -> None:
        """Nobody watches until the next `observe`: the time between does not count."""
        self._last = None


class AttentiveClock:
    """Waits for a future, but only for so many attentive seconds. Belongs to the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._attention = Attention()
        self._order = count()
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._beat: asyncio.TimerHandle | None = None

    async def answered(self, answer: asyncio.Future[Any], seconds: float) -> bool:
        """Whether `answer` is done within that many attentive seconds; it is not cancelled if not."""
        if answer.done():
            return True
        waiter: asyncio.Future[None] = self._loop.create_future()

        def wake(_: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        answer.add_done_callback(wake)
        # One beat more: the present beat has begun before this call.
        heapq.heappush(self._due, (self._attention.seconds + seconds + BEAT, next(self._order), waiter))
        if self._beat is None:
            self._attention.observe(self._loop.time())
            self._beat = self._loop.call_later(BEAT, self._on_beat)
        try:
            await waiter
        finally:
            answer.remove_done_callback(wake)
            waiter.cancel()
        return answer.done()

    def close(self) -> None:
        """Stop the heartbeat; whoever still waits waits for the answer alone."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _on_beat(self) -> None:
        self._attention.observe(self._loop.time())
        while self._due and (self._due[0][2].done() or self._due[0][0] <= self._attention.seconds):
            waiter = heapq.heappop(self._due)[2]
            if not waiter.done():
                waiter.set_result(None)
        if self._due:
            self._beat = self._loop.call_later(BEAT, self._on_beat)
        else:
            self._beat = None
            self._attention.look_away()
