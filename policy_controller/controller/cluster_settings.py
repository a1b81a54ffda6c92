"""The settings of the whole cluster, asked for again and again from the ConfigMap that an admin writes.

Knows when to ask, and that what cannot be read chooses nothing: what was in force stays. Knows nothing of what settings
do, or of HTTP.

It is asked for by name, so that the operator needs no permission on any other ConfigMap. A GET is answered with the
latest state, and one every two seconds costs less than a watch that has to be looked after.
"""

import asyncio
import logging
from typing import Final, Protocol

from compilers.model.settings import CONFIG_MAP, DEFAULTS, ClusterSettings, Enforcement
from compilers.parse.field import Origin
from compilers.parse.settings import parse_settings
from policy_controller.clock import Clock, within
from policy_controller.controller.api import OwnObject, Tree
from policy_controller.controller.seen import version_of
from policy_controller.controller.store import Store
from policy_controller.controller.trouble import Trouble
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
"""How long an answer may take."""
BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)
"""Pauses after failures in a row; the last is repeated for ever. It is short: somebody may be waiting for the switch."""
OFF: Final = "Enforcement is off in the whole cluster: no policy has any effect."


class Reads(Protocol):
    """The part of the API that is asked."""

    async def read(self, place: OwnObject) -> Tree | None:
        """The object as it is now; None when there is none. Raises when that cannot be told."""
        ...


class ClusterSettingsSource:
    """Keeps the store told of what holds for the whole cluster. Belongs to one event loop."""

    def __init__(self, api: Reads, store: Store, namespace: str, clock: Clock) -> None:
        self._api = api
        self._store = store
        self._place = OwnObject("configmaps", namespace, CONFIG_MAP)
        self._clock = clock
        self._shown = 0
        """The version of the ConfigMap that was shown last; 0: none was."""
        self._chosen = False
        """Whether what is in force was chosen: by a ConfigMap that is understood, or by there being none."""
        self._unread: Trouble | None = None
        self._invalid: Trouble | None = None
        self.failures = 0
        self.known = asyncio.Event()
        """Set once the API server has said what the ConfigMap holds, or that there is none.

        Before that nothing may be compiled: an operator that starts while enforcement is off would switch it on.
        """

    @property
    def complaints(self) -> list[Trouble]:
        """Why nothing can be compiled yet."""
        if self.known.is_set():
            return []
        cause = "no answer yet." if self._unread is None else self._unread.cause
        return [Trouble("The settings of the cluster have not been read yet.", cause)]

    @property
    def warnings(self) -> list[Trouble]:
        """What somebody should know of, though nodes are served."""
        found = [one for one in (self._unread, self._invalid) if one is not None and self.known.is_set()]
        if self._store.settings.enforcement is Enforcement.OFF:
            found.append(Trouble(OFF))
        return found

    @property
    def invalid(self) -> bool:
        """Whether the ConfigMap holds what is not understood."""
        return self._invalid is not None

    async def run(self) -> None:
        """Ask until cancelled."""
        failed = 0
        while True:
            try:
                tree = await within(self._clock, ANSWER_SECONDS, self._api.read(self._place))
            except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does, it goes on
                pause = BACKOFF_SECONDS[min(failed, len(BACKOFF_SECONDS) - 1)]
                failed += 1
                self.failures += 1
                self._fail(fault, pause)
                await self._clock.sleep(pause)
                continue
            if failed:
                log.info("%s can be read again", self._place)
            failed, self._unread = 0, None
            self._note(tree)
            self.known.set()
            await self._clock.sleep(POLL_SECONDS)

    def _fail(self, fault: Exception, pause: float) -> None:
        words = plain(f"{type(fault).__name__}: {fault}")
        # Once, and not for each attempt of an hour.
        known = self._unread is not None and self._unread.cause == words
        level = logging.DEBUG if known else logging.WARNING
        log.log(level, "could not read %s, trying again in %.0f s: %s", self._place, pause, words)
        self._unread = Trouble(f"The settings of the cluster cannot be read: {self._stays()}.", words)

    def _note(self, tree: Tree | None) -> None:
        if tree is None:
            self._invalid = None
            # Deleting it is later than all that it held. How much later, nobody says.
            self._settle(DEFAULTS, self._shown + 1 if self._shown else 0)
            return
        version = version_of(tree["metadata"].get("resourceVersion"))
        parsed = parse_settings(tree, Origin.API)
        if parsed.value is None:
            invalid = Trouble(
                f"ConfigMap {CONFIG_MAP} {self._not_understood()}.",
                "; ".join(f"{fault.where}: {fault.reason}" for fault in parsed.faults),
            )
            if invalid != self._invalid:
                log.warning("%s", invalid)
            self._invalid = invalid
            return
        self._invalid, self._shown = None, version
        self._settle(parsed.value, version)

    def _settle(self, settings: ClusterSettings, version: int) -> None:
        before = self._store.settings
        if settings != before or not self.known.is_set():
            level = logging.WARNING if settings.enforcement is not before.enforcement else logging.INFO
            log.log(level, "settings of the cluster: %s", _words(settings))
        self._chosen = True
        self._store.settle(settings, version)

    def _not_understood(self) -> str:
        if self._chosen:
            return f"is not understood: {self._stays()}"
        # Nobody remembers what it held before this operator began; what is not known closes.
        return f"is invalid since the start: defaults hold ({_words(self._store.settings)})"

    def _stays(self) -> str:
        held = self._store.settings
        return f"enforcement {held.enforcement.value} stays in force"


def _words(settings: ClusterSettings) -> str:
    return (
        f"enforcement {settings.enforcement.value}, existingConnections {settings.existing_connections.value}"
    )
