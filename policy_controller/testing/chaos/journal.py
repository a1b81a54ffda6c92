"""The journal of a chaos: every state of the objects with its times, and every time in which a fault stood open.

Written while it happens, judged afterwards. Knows clocks and clusters. Knows nothing of what is done, nor of verdicts.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from compilers.model.cluster import Cluster
from policy_controller.testing.chaos.judge import Moment, Scope, Stretch, Window
from policy_controller.testing.chaos.verdicts import Resident


class Journal:
    """What has happened so far. `look` reads the state that the API server holds."""

    def __init__(self, look: Callable[[], Awaitable[Cluster]]) -> None:
        self._look = look
        self._stormy_since: float | None = None
        self.clusters: list[Cluster] = []
        self.moments: list[Moment] = []
        self.stretches: list[Stretch] = []
        self.windows: list[Window] = []
        self.residents: list[Resident] = []
        self.done: Counter[str] = Counter()
        """Faults and changes, by kind."""
        self.recoveries: list[float] = []
        """Seconds from the end of a storm until all worked again."""
        self.repairs: list[float] = []
        """Seconds until a table that somebody changed was as it should be."""

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """Objects are written in the block: one write, or several that nobody looks at one by one."""
        begun = time.monotonic()
        yield
        known = time.monotonic()
        self.clusters.append(await self._look())
        self.moments.append(Moment(begun, known))

    def storm(self) -> None:
        """From now on news may be held up."""
        if self._stormy_since is None:
            self._stormy_since = time.monotonic()

    def calm(self) -> None:
        """All works again."""
        if self._stormy_since is not None:
            self.stretches.append(Stretch(self._stormy_since, time.monotonic()))
            self._stormy_since = None

    def window(self, begin: float, end: float, node: str, scope: Scope, reason: str) -> None:
        """A fault stood open."""
        self.windows.append(Window(begin, end, node, scope, reason))
