"""Which version of Kubernetes the cluster is, and a sentence when that is older than what is supported.

Knows the oldest version (docs/requirements.md says why) and how an API server tells its own. A warning is all it comes
to: an older cluster is served as well as it goes.
"""

import logging
import re
from typing import Final, Protocol

from policy_controller.clock import Clock
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

OLDEST: Final = (1, 28)
"""Major and minor version."""
AGAIN_SECONDS: Final = 3600.0
"""A cluster is upgraded under a running operator."""
RETRY_SECONDS: Final = 30.0
NUMBERS: Final = re.compile(r"v?(?P<major>\d{1,4})\.(?P<minor>\d{1,4})(?!\d)")


class Versions(Protocol):
    """What an API server says of itself."""

    async def version(self) -> object:
        """The document of /version, as it came; raises when there is no answer."""
        ...


class ClusterVersion:
    """Asks at start and from time to time; goes on for ever."""

    def __init__(self, api: Versions, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self.name = ""
        """`v1.33.1`, as the API server says it; "" until it has."""
        self.warning: str | None = None
        """Why the cluster is not supported, in one sentence."""

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                told = await self._api.version()
            except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does, it goes on
                log.debug("could not ask for the version of Kubernetes: %r", fault)
                await self._clock.sleep(RETRY_SECONDS)
                continue
            self._note(told)
            await self._clock.sleep(AGAIN_SECONDS)

    def _note(self, told: object) -> None:
        said = told.get("gitVersion") if isinstance(told, dict) else None
        name = plain(said) if isinstance(said, str) else "unknown"
        if name == self.name:
            return
        self.name, self.warning = name, complaint(name)
        log.info("Kubernetes %s", name)
        if self.warning is not None:
            log.warning("%s", self.warning)


def complaint(version: str) -> str | None:
    """A sentence on a version that is older than OLDEST, or that cannot be told; None when all is well."""
    oldest = ".".join(map(str, OLDEST))
    found = NUMBERS.match(version)
    if found is None:
        return f"The API server does not say which version of Kubernetes it is; {oldest} is the oldest that is supported."
    if (int(found["major"]), int(found["minor"])) < OLDEST:
        return (
            f"Kubernetes {version} is older than {oldest}, the oldest that is supported: upgrade the cluster."
        )
    return None
