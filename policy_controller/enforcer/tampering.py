"""Somebody else changes our tables: it is heard of, mended at once, and told.

Knows who commits (commits.py), when to look (pace.py) and who says so (telling.py). Knows nothing of what a table should
hold: the comparison, and every word to the kernel, are Enforcement's. From time to time there is a look without a reason,
since not everything is told: notifications can be lost.
"""

import asyncio
from random import Random
from typing import Final

from compilers.nftables.words import TableFamily
from policy_controller.clock import Clock, wait_for
from policy_controller.enforcer.commits import Author, Commits, LostError
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.kernel import Kernel, KernelError, Occasion
from policy_controller.enforcer.pace import Pace
from policy_controller.enforcer.telling import Suspects, Telling

UNKNOWN: Final = Author(0, "unknown")
"""Whoever it was that nobody told of."""
SOMEBODY: Final[Suspects] = {UNKNOWN: frozenset(TableFamily)}
MOST_AUTHORS: Final = 8
"""Told apart in one look."""
AGAIN_SECONDS: Final = 0.2
"""After something was mended there is one look more: the listing may have been incomplete (LibNft.list_table)."""
LISTEN_AGAIN_SECONDS: Final = 1.0
JITTER: Final = 0.1
"""Routine looks are apart by such a part more or less: nodes that were started together should not look together."""


class Tampering:
    """Of one node. Use from one event loop, that of Enforcement. `compare_seconds` are between two routine looks."""

    def __init__(
        self,
        commits: Commits,
        kernel: Kernel,
        enforcement: Enforcement,
        telling: Telling,
        clock: Clock,
        compare_seconds: float,
        random: Random,
    ) -> None:
        self._commits = commits
        self._kernel = kernel
        self._enforcement = enforcement
        self._telling = telling
        self._clock = clock
        self._compare_seconds = compare_seconds
        self._random = random
        self._pace = Pace()
        self._suspects: dict[Author, frozenset[TableFamily]] = {}
        self._since: float | None = None
        """When the first of the suspects was told of."""
        self._wanted: float | None = None
        """From when on there is reason to look."""
        self._wake = asyncio.Event()
        self._deaf: str | None = None
        self._due: float | None = None
        """When there is a look at the latest."""
        self._last = UNKNOWN

    @property
    def trouble(self) -> str | None:
        """Why what is in force may not be what it should, in one sentence; None when nobody changes it and all is heard."""
        if self._deaf is not None:
            return f"whether others change the tables is not heard: {self._deaf}"
        if self._pace.fights(self._clock.now()):
            return f"{self._last} changes the tables again and again: each time they are mended soon"
        return None

    def late_seconds(self) -> float:
        """For how long the tables should have been looked at."""
        return 0.0 if self._due is None else max(0.0, self._clock.now() - self._due)

    async def run(self) -> None:
        """Listen and look, once the tables have been adopted. Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._look())

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except OSError as error:
                self._deaf = error.strerror or str(error)
                self._telling.deaf(self._deaf)
                # Whatever happens until it is heard again is not told.
                self._suspect(SOMEBODY)
            await self._clock.sleep(LISTEN_AGAIN_SECONDS)

    async def _hear(self) -> None:
        """Raises OSError."""
        ours = await self._kernel.author(self._commits.author)
        self._deaf = None
        while True:
            try:
                commits = await self._commits.next()
            except LostError:
                self._telling.lost()
                self._suspect(SOMEBODY)
                continue
            for commit in commits:
                if commit.author.number != ours.number:
                    self._suspect({commit.author: commit.tables})

    def _suspect(self, suspects: Suspects) -> None:
        for author, tables in suspects.items():
            known = author in self._suspects or len(self._suspects) < MOST_AUTHORS
            one = author if known else UNKNOWN
            self._suspects[one] = self._suspects.get(one, frozenset()) | tables
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        self._want(now)

    def _want(self, moment: float) -> None:
        self._wanted = moment if self._wanted is None else min(self._wanted, moment)
        self._wake.set()

    async def _look(self) -> None:
        routine = self._next_routine()
        while True:
            self._due = routine
            due = routine if self._wanted is None else min(routine, max(self._wanted, self._pace.due))
            await wait_for(self._wake, self._clock, max(0.0, due - self._clock.now()))
            self._wake.clear()
            now = self._clock.now()
            if self._wanted is not None and now >= max(self._wanted, self._pace.due):
                await self._compare(Occasion.SUSPICION)
            elif now >= routine:
                await self._compare(Occasion.ROUTINE)
                routine = self._next_routine()

    def _next_routine(self) -> float:
        return self._clock.now() + self._random.uniform(1 - JITTER, 1 + JITTER) * self._compare_seconds

    async def _compare(self, occasion: Occasion) -> None:
        suspects, begin = self._suspects, self._clock.now()
        since = begin if self._since is None else self._since
        self._suspects, self._since, self._wanted = {}, None, None
        self._telling.compared(occasion)
        try:
            amiss = await self._enforcement.compare(occasion)
        except KernelError as error:
            self._pace.looked(begin, self._clock.now(), amiss=False)
            self._telling.not_mended(error)
            self._suspect(suspects or SOMEBODY)
            self._since = since
            return
        end = self._clock.now()
        if occasion is Occasion.SUSPICION or amiss:
            self._pace.looked(begin, end, amiss=bool(amiss))
        if amiss:
            suspects = suspects or dict(SOMEBODY)
            self._last = next(iter(suspects))
            self._telling.mended(suspects, amiss, end - since, self._pace.fights(end))
            self._want(end + AGAIN_SECONDS)
