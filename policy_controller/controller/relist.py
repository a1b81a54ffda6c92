"""LISTs of every kind, each by itself: the first picture of the cluster, and from time to time a comparison with it.

Knows when to ask and how long to wait after a failure. Knows nothing of HTTP (api.py) or of what is newer (store.py).

A watch that was away too long begins anew with what there is, and says nothing of what was deleted meanwhile. A LIST
does: what it does not show is gone.
"""

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from policy_controller.clock import Clock, wait_for, within
from policy_controller.controller.api import ClusterApi
from policy_controller.controller.kinds import DECIDING, Kind
from policy_controller.controller.seen import Seen
from policy_controller.controller.store import Store
from policy_controller.controller.trouble import Trouble
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after failures in a row; the last is repeated for ever. Each is lengthened by up to half by chance."""
SETTLE_SECONDS: Final = 1.0
"""From the first sign of a gap to the LIST: the other watches have most likely begun anew as well."""
LIST_SECONDS: Final = 900.0
"""How long a whole LIST may take, of however many pages."""
SLACK_SECONDS: Final = 120.0
"""By so much the next step of a LIST may be late before only a restart can help."""
OVERDUE_INTERVALS: Final = 3
"""So many intervals without a LIST of a kind are told as a trouble."""
READ_AT_ONCE: Final = 200
"""Objects read before others get their turn."""
RESTORED_SECONDS: Final = 300.0
"""So long must every LIST of a kind be older than what is known before the cluster counts as restored from a backup.

Until then it is taken for the word of a server that lags behind, and what it does not show is not gone. Nodes refuse a
restored state anyway, until they are started anew (docs/decisions/never-back.md), so waiting costs little.
"""


class OlderList(Exception):  # noqa: N818 - as PartEnded
    """A LIST that is older than what is known, and so says nothing of what is gone."""


@dataclass(frozen=True, slots=True)
class _Older:
    """Since when the LISTs of a kind have been older than this version."""

    since: float
    known: int


class Relister:
    """LISTs each kind at start, every `interval` seconds and soon after `request`; goes on for ever.

    A kind that cannot be listed (a role may lack it, an object of it may not be readable) keeps no other from it.
    """

    def __init__(self, api: ClusterApi, store: Store, clock: Clock, interval: float) -> None:
        self._api = api
        self._store = store
        self._clock = clock
        self._interval = interval
        self._began_at = clock.now()
        self._requested = {kind: asyncio.Event() for kind in Kind}
        self._listed_at: dict[Kind, float] = {}
        self._last_failure: dict[Kind, Trouble] = {}
        self._older: dict[Kind, _Older] = {}
        self._due: dict[Kind, float] = {}
        """When the next step of each kind's LISTs must have been made."""
        self.synced = asyncio.Event()
        """Set once every kind that decides has been listed: before that, half of the policies would be taken for all."""
        self.repairs: Counter[tuple[Kind, str]] = Counter()
        """What LISTs put right, by kind and `changed` or `removed`."""
        self.failures: Counter[Kind] = Counter()

    @property
    def listed_at(self) -> float | None:
        """The time since which the API server has answered for every kind that decides; None until it has for each."""
        if not self.synced.is_set():
            return None
        return min(self._listed_at[kind] for kind in DECIDING)

    def age(self, kind: Kind) -> float:
        """Seconds since a kind was last listed; since the beginning when it never was."""
        return self._clock.now() - self._listed_at.get(kind, self._began_at)

    def overdue(self, kind: Kind) -> bool:
        """Whether a kind has not been listed for so long that its objects may no longer be what they are taken for."""
        return self.age(kind) > OVERDUE_INTERVALS * self._interval

    def complaints(self) -> list[Trouble]:
        """One for each kind that decides and is overdue or was never listed; with the last error."""
        return [
            self._complaint(kind)
            for kind in Kind
            if kind in DECIDING and (self.overdue(kind) or kind not in self._listed_at)
        ]

    def warnings(self) -> list[Trouble]:
        """The same for each kind that is overdue and decides nothing: nodes are served the cluster's state without it."""
        return [self._complaint(kind) for kind in Kind if kind not in DECIDING and self.overdue(kind)]

    def stuck(self) -> tuple[Kind, ...]:
        """Kinds whose LISTs do not go on, neither by an answer nor by a failure. An API server that is away is no reason."""
        now = self._clock.now()
        return tuple(kind for kind, due in self._due.items() if now - due > SLACK_SECONDS)

    def last_listed(self, kind: Kind) -> float | None:
        """When the API server last answered for a kind."""
        return self._listed_at.get(kind)

    def request(self) -> None:
        """A watch began anew: events may have been lost."""
        if self.synced.is_set():
            for requested in self._requested.values():
                requested.set()

    async def run(self) -> None:
        """LIST until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for kind in Kind:
                loops.create_task(self._run(kind), name=f"lists of {kind.value}")

    async def _run(self, kind: Kind) -> None:
        requested = self._requested[kind]
        while True:
            await self._list(kind)
            self._next_step(kind, self._interval)
            await wait_for(requested, self._clock, self._interval)
            if requested.is_set():
                self._next_step(kind, SETTLE_SECONDS)
                await self._clock.sleep(SETTLE_SECONDS)
                requested.clear()

    async def _list(self, kind: Kind) -> None:
        attempt = 0
        while True:
            try:
                self._next_step(kind, LIST_SECONDS)
                await within(self._clock, LIST_SECONDS, self._list_once(kind))
            except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does, it goes on
                self.failures[kind] += 1
                # An API server that cannot read an object names it.
                self._last_failure[kind] = Trouble(f"{type(fault).__name__}.", plain(str(fault)))
                pause = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
                attempt += 1
                log.warning("could not list %s, trying again in %.0f s: %r", kind.value, pause, fault)
                self._next_step(kind, pause * 1.5)
                await self._clock.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311 - spreads load, no secret
            else:
                self._note_listed(kind)
                return

    def _next_step(self, kind: Kind, seconds: float) -> None:
        self._due[kind] = self._clock.now() + seconds

    def _note_listed(self, kind: Kind) -> None:
        self._listed_at[kind] = self._clock.now()
        self._last_failure.pop(kind, None)
        if self._listed_at.keys() >= DECIDING:
            self.synced.set()

    def _complaint(self, kind: Kind) -> Trouble:
        since = f"for {self.age(kind):.0f} s" if kind in self._listed_at else "yet"
        failure = self._last_failure.get(kind, Trouble("no answer yet."))
        return Trouble(
            f"{kind.value} objects have not been listed {since}: {failure.sentence}", failure.cause
        )

    def _check_age(self, kind: Kind, version: int, known: int) -> None:
        """Raises OlderList, unless LISTs have been older for so long that the cluster must be another one."""
        before = self._older.pop(kind, None)
        if version >= known:
            return
        # A later version seen meanwhile comes from the cluster as it was: it was not restored.
        if before is None or before.known != known:
            before = _Older(self._clock.now(), known)
        if self._clock.now() - before.since < RESTORED_SECONDS:
            self._older[kind] = before
            raise OlderList(f"it is of version {version}, and version {known} has been seen")
        log.warning("%s objects count anew from version %d: restored from a backup", kind.value, version)

    async def _list_once(self, kind: Kind) -> None:
        began_at = self._store.version_of(kind)
        listing = await self._api.list(kind)
        self._check_age(kind, listing.version, began_at)
        seen: list[Seen] = []
        for index, tree in enumerate(listing.trees):
            if index % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            one = self._store.known(kind, tree)
            if one is not None:
                seen.append(one)
        repair = self._store.replace_all(kind, seen, listing.version, began_at)
        if kind not in self._listed_at:
            return
        for what, keys in (("changed", repair.changed), ("removed", repair.removed)):
            if keys:
                self.repairs[kind, what] += len(keys)
                log.warning(
                    "a LIST of %s put %d %s objects right, the first is %s/%s",
                    kind.value,
                    len(keys),
                    what,
                    *keys[0],
                )
