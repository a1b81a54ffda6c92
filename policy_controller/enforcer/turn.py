"""One thing at a time, and for how long it has been going on.

Knows a lock and a clock. Knows nothing of what is done.
"""

import asyncio

from policy_controller.clock import Clock


class Turn:
    """A lock of one event loop; an async context manager."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._since: float | None = None

    def held_seconds(self) -> float:
        """For how long whoever has it has had it; 0 when nobody has."""
        return 0.0 if self._since is None else self._clock.now() - self._since

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        self._since = self._clock.now()

    async def __aexit__(self, *_: object) -> None:
        self._since = None
        self._lock.release()
