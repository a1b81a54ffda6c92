"""LISTs of every kind: the first picture of the cluster, and from time to time a comparison with it.

Knows when to ask and how long to wait after a failure. Knows nothing of HTTP (api.py) or of what is newer (store.py).

A watch that was away too long begins anew with what there is, and says nothing of what was deleted meanwhile. A LIST
does: what it does not show is gone.
"""

import asyncio
import logging
import random
from collections import Counter
from typing import Final

from policy_controller.clock import Clock, wait_for
from policy_controller.controller.api import ClusterApi
from policy_controller.controller.kinds import Kind
from policy_controller.controller.seen import Seen
from policy_controller.controller.store import Store

log = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after failures in a row; the last is repeated for ever. Each is lengthened by up to half by chance."""
SETTLE_SECONDS: Final = 1.0
"""From the first sign of a gap to the LIST: the other watches have most likely begun anew as well."""
READ_AT_ONCE: Final = 200
"""Objects read before others get their turn."""


class Relister:
    """LISTs all kinds at start, every `interval` seconds and soon after `request`; goes on for ever."""

    def __init__(self, api: ClusterApi, store: Store, clock: Clock, interval: float) -> None:
        self._api = api
        self._store = store
        self._clock = clock
        self._interval = interval
        self._requested = asyncio.Event()
        self.synced = asyncio.Event()
        """Set once every kind has been listed: before that, half of the policies would be taken for all of them."""
        self.listed_at: float | None = None
        """When every kind had last been listed."""
        self.repairs: Counter[tuple[Kind, str]] = Counter()
        """What LISTs put right, by kind and `changed` or `removed`."""
        self.failures: Counter[Kind] = Counter()

    def request(self) -> None:
        """A watch began anew: events may have been lost."""
        if self.synced.is_set():
            self._requested.set()

    async def run(self) -> None:
        """LIST until cancelled."""
        await self._list_all()
        self.synced.set()
        while True:
            await wait_for(self._requested, self._clock, self._interval)
            if self._requested.is_set():
                await self._clock.sleep(SETTLE_SECONDS)
                self._requested.clear()
            await self._list_all()

    async def _list_all(self) -> None:
        async with asyncio.TaskGroup() as kinds:
            for kind in Kind:
                kinds.create_task(self._list(kind))
        self.listed_at = self._clock.now()

    async def _list(self, kind: Kind) -> None:
        attempt = 0
        while True:
            try:
                await self._list_once(kind)
            except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does, it goes on
                self.failures[kind] += 1
                pause = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
                attempt += 1
                log.warning("could not list %s, trying again in %.0f s: %r", kind.value, pause, fault)
                await self._clock.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311 - spreads load, no secret
            else:
                return

    async def _list_once(self, kind: Kind) -> None:
        began_at = self._store.version_of(kind)
        listing = await self._api.list(kind)
        seen: list[Seen] = []
        for index, tree in enumerate(listing.trees):
            if index % READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            one = self._store.known(kind, tree)
            if one is not None:
                seen.append(one)
        repair = self._store.replace_all(kind, seen, listing.version, began_at)
        if not self.synced.is_set():
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
