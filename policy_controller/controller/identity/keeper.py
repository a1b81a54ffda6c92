"""Keeps the Secret and the ConfigMap as they should be, and signs the operator's own certificate with what they hold.

Knows in which order they are read and written, and how long to wait after a failure. What they should hold is
rotation.py's.

Many operators do this at once, and none leads. The Secret is made by a create and changed by an update of the version
that was read: whoever comes second reads what the first has written. The ConfigMap is read before the Secret, so that
an operator that has read an old Secret cannot write over the ConfigMap of one that has seen a newer one.
"""

import asyncio
import logging
import random
from datetime import datetime
from typing import Final

from policy_controller.clock import Clock
from policy_controller.controller.api import Conflict, OwnObject, OwnObjects, Tree
from policy_controller.controller.identity import rotation
from policy_controller.controller.identity.authority import InvalidAuthority, Leaf
from policy_controller.controller.identity.dates import Today
from policy_controller.controller.identity.rotation import Authorities
from policy_controller.controller.identity.source import NoCertificateYetError
from policy_controller.wire.channel import Certificate
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

SERVICE: Final = "policy-controller"
NAME: Final = "policy-controller-ca"
"""Of the Secret and of the ConfigMap."""
LABELS: Final = {"app.kubernetes.io/name": "policy-controller"}
CHECK_SECONDS: Final = 60.0
"""Between two looks at Secret and ConfigMap: so long may they be missing or wrong."""
CONFLICT_SECONDS: Final = 0.2
"""Before another look when somebody else has just written."""
BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after failures in a row; the last is repeated for ever. Each is lengthened by up to half by chance."""


class Keeper:
    """The operator's certificate, signed by an authority of its own. Belongs to one event loop."""

    def __init__(self, api: OwnObjects, namespace: str, clock: Clock, today: Today) -> None:
        self._api = api
        self._secret = OwnObject("secrets", namespace, NAME)
        self._config_map = OwnObject("configmaps", namespace, NAME)
        self._names = (f"{SERVICE}.{namespace}.svc", SERVICE)
        self._clock = clock
        self._today = today
        self._held: Authorities | None = None
        self._published = b""
        self._leaf: Leaf | None = None
        self._failure = "Not tried yet."
        self._ready = asyncio.Event()

    @property
    def ready(self) -> asyncio.Event:
        """Set once there is a certificate."""
        return self._ready

    @property
    def ends(self) -> datetime | None:
        """When the certificate in use expires."""
        return None if self._leaf is None else self._leaf.ends

    def certificate(self) -> Certificate:
        """The one to show now."""
        if self._leaf is None:
            raise NoCertificateYetError
        return self._leaf.shown

    def trouble(self) -> str:
        """What went wrong when Secret and ConfigMap were last seen to."""
        return self._failure

    async def run(self) -> None:
        """Look at Secret and ConfigMap from time to time until cancelled."""
        failures = 0
        while True:
            pause = CHECK_SECONDS
            try:
                await self._see_to_it()
                failures, self._failure = 0, ""
            except Conflict as conflict:
                log.info("somebody else has just written %s, reading it again", conflict)
                pause = CONFLICT_SECONDS
            except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does, it goes on
                self._failure = plain(repr(fault))
                pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                log.warning(
                    "could not see to the authority, trying again in %.0f s: %s", pause, self._failure
                )
            self._renew()
            await self._clock.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311 - spreads load, no secret

    async def _see_to_it(self) -> None:
        config_map = await self._api.read(self._config_map)
        secret = await self._api.read(self._secret)
        wanted = rotation.desired(self._known(secret), self._today())
        await self._store(secret, wanted)
        self._held = wanted
        await self._publish(config_map, wanted)
        self._published = wanted.bundle

    def _known(self, secret: Tree | None) -> Authorities | None:
        """The authorities in the Secret, or those that it should hold by all that is known."""
        if secret is None:
            if self._held is not None:
                log.warning("%s was deleted, making it again with the authority it held", self._secret)
            return self._held
        try:
            return rotation.read(secret.get("data"))
        except InvalidAuthority as fault:
            lost = "a new authority" if self._held is None else "the authority it held"
            log.warning("%s holds no authority (%s), writing %s", self._secret, fault, lost)
            return self._held

    async def _store(self, secret: Tree | None, wanted: Authorities) -> None:
        ours = rotation.written(wanted)
        if secret is None:
            await self._api.create(self._secret, _new("Secret", self._secret, ours))
            log.info("made %s", self._secret)
            return
        found = _data(secret)
        if {name: found[name] for name in rotation.KEYS if name in found} != ours:
            others = {name: text for name, text in found.items() if name not in rotation.KEYS}
            await self._api.replace(self._secret, {**secret, "data": {**others, **ours}})
            log.info(
                "wrote %s: authority until %s%s",
                self._secret,
                wanted.newest.ends.date(),
                "" if wanted.previous is None else f", the one before it until {wanted.previous.ends.date()}",
            )

    async def _publish(self, config_map: Tree | None, wanted: Authorities) -> None:
        text = wanted.bundle.decode()
        if config_map is None:
            if self._published:
                log.warning("%s was deleted, making it again", self._config_map)
            await self._api.create(
                self._config_map, _new("ConfigMap", self._config_map, {rotation.CERTIFICATE: text})
            )
            log.info("made %s", self._config_map)
            return
        found = _data(config_map)
        if found.get(rotation.CERTIFICATE) != text:
            if self._published == wanted.bundle:
                log.warning("%s was changed by somebody else, writing it again", self._config_map)
            data = {**found, rotation.CERTIFICATE: text}
            await self._api.replace(self._config_map, {**config_map, "data": data})
            log.info("wrote %s", self._config_map)

    def _renew(self) -> None:
        """Sign another certificate when it is time, also while the API server does not answer."""
        if self._held is None or not self._published:
            return
        now = self._today()
        signer = self._held.signer(now, self._published)
        if now >= signer.ends:
            # There will be another once the API server answers; meanwhile the operator says that it is not ready.
            return
        if self._leaf is None or not self._leaf.holds(signer, now):
            self._leaf = signer.sign(self._names, now)
            log.info("signed a certificate until %s", self._leaf.ends.isoformat(timespec="seconds"))
            self._ready.set()


def _data(tree: Tree) -> dict[str, object]:
    # API conventions: null is the same as a field that is not there.
    found = tree.get("data")
    return dict(found) if isinstance(found, dict) else {}


def _new(kind: str, place: OwnObject, data: dict[str, str]) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": place.name, "namespace": place.namespace, "labels": LABELS},
        "data": data,
    }
