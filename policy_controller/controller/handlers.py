"""kopf's side of the operator: four on.event handlers that fill the store, and settings under which kopf only reads.

Knows kopf's registry and settings. Knows nothing of policies. Nothing here ever writes to the API.
"""

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import kopf

from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.store import Store

ERROR_BACKOFFS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds between attempts of one request; the last is repeated for ever."""
LOGIN_BACKOFF_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 70.0
"""A watch that is silent for longer is begun anew; a server that is alive sends a bookmark once a minute."""
ANEW_SECONDS: Final = 1.0
"""Before a watch begins anew with a LIST: a server that answers every watch with 410 is not asked ten times a second."""


class EndlessBackoffs:
    """Pauses that never run out: kopf gives up a request, and with it the whole operator, when they do."""

    def __iter__(self) -> Iterator[float]:
        """Begin anew: kopf iterates once a request."""
        return itertools.chain(ERROR_BACKOFFS, itertools.repeat(ERROR_BACKOFFS[-1]))


class NothingKept(kopf.DiffBaseStorage):
    """No memory of objects in their annotations.

    kopf's own storages decode an annotation that every author of a pod may write. What does not decode hides the
    object from all handlers. They also copy every object at every event, for differences that nobody here asks for.
    """

    def build(self, **_: object) -> Any:  # noqa: ANN401 - kopf's type of it is not public
        """Nothing of the object."""
        return {}

    def fetch(self, **_: object) -> None:
        """Nothing was stored."""

    def store(self, **_: object) -> None:
        """Nothing is stored."""


def settings() -> kopf.OperatorSettings:
    """Settings of an operator that watches four kinds, keeps trying for ever, and writes nothing."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    # Kinds are looked up once: CustomResourceDefinitions are none of our business, nor in our RBAC.
    chosen.scanning.disabled = True
    chosen.networking.error_backoffs = EndlessBackoffs()
    chosen.networking.connect_timeout = CONNECT_SECONDS
    chosen.networking.request_timeout = REQUEST_SECONDS
    chosen.watching.inactivity_timeout = SILENCE_SECONDS
    chosen.watching.reconnect_backoff = ANEW_SECONDS
    chosen.watching.chunk_size = 500
    chosen.persistence.diffbase_storage = NothingKept()
    # kopf takes a finalizer of its name off every object that carries it, and waits with that object's events while it
    # may not. A name that nobody can know in advance is on no object.
    chosen.persistence.finalizer = f"policy-controller/never-set-{secrets.token_hex(16)}"
    # It would kill the process from a timer of the loop; who runs the process decides that.
    chosen.process.ultimate_exiting_timeout = None
    return chosen


def registry(
    store: Store, on_listing: Callable[[], None], login: Callable[[], Awaitable[kopf.AiohttpSession]]
) -> kopf.OperatorRegistry:
    """Handlers for the four kinds; `on_listing` is called for each object that a watch begins with."""
    registered = kopf.OperatorRegistry()

    async def credentials(**_: object) -> kopf.AiohttpSession:
        return await login()

    kopf.on.login(registry=registered, id="credentials", backoff=LOGIN_BACKOFF_SECONDS)(credentials)
    for kind in Kind:
        row = KINDS[kind]
        kopf.on.event(row.group, row.version, row.plural, registry=registered, id=row.plural)(
            _recorder(kind, store, on_listing)
        )
    logging.getLogger("kopf").setLevel(logging.WARNING)
    return registered


def _recorder(kind: Kind, store: Store, on_listing: Callable[[], None]) -> Callable[..., Awaitable[None]]:
    async def record(*, event: Any, **_: object) -> None:  # noqa: ANN401 - a raw event is any JSON
        tree = event["object"]
        if event["type"] == "DELETED":
            store.remove(kind, tree)
            return
        if event["type"] is None:
            on_listing()
        store.put(kind, tree)

    return record
