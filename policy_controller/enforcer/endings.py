"""Connections that must end because an address changed hands: ended soon, together, and again where it failed.

Knows addresses, and when the kernel's connections may be walked over. Knows nothing of why an address changed hands.
"""

import logging
from typing import Final

from compilers.model.words import Address
from policy_controller.clock import Clock
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.conntrack import ConnectionsError
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

WALK_PAUSE: Final = 10.0
"""How many times as long as a walk over the kernel's connections took there is none after it: rules wait for few."""

MOST_OWED: Final = 65_536
"""Addresses that are remembered while the kernel does not let their connections end; of more, those that came first are not.
Every node hears of every address of the cluster, and a kernel may refuse for days."""

LONGEST_WALK_PAUSE: Final = 1.0
LONGEST_WAIT: Final = 30.0


def pause(failures: int) -> float:
    """Seconds until the next attempt after so many that failed."""
    # A power of 1024 is no float any more, and a kernel may refuse for days.
    return min(2.0 ** min(failures, 10), LONGEST_WAIT)


class Endings:
    """What is owed, and when it is carried out. Use from one event loop, one call at a time."""

    def __init__(self, kernel: Kernel, clock: Clock, metrics: Metrics) -> None:
        self._kernel = kernel
        self._clock = clock
        self._metrics = metrics
        self._owed: frozenset[Address] = frozenset()
        self._lingering: ConnectionsError | None = None
        self._walk_allowed = clock.now()
        """When the kernel's connections may be walked over again; endings that come before share that walk."""
        self._walk_again = clock.now()
        """The same for a walk that only tries again."""
        self._failed_walks = 0

    @property
    def lingering(self) -> ConnectionsError | None:
        """Why connections of addresses that changed hands may go on, or None when none does."""
        return self._lingering

    @property
    def owed(self) -> frozenset[Address]:
        """Addresses whose connections must end and may not all have."""
        return self._owed

    def next_walk(self) -> float | None:
        """Seconds until what is owed may be carried out; None when nothing is."""
        return self._walk_again - self._clock.now() if self._owed else None

    def owe(self, addresses: frozenset[Address]) -> None:
        """The connections of these addresses must end, with the next walk."""
        together = self._owed | addresses
        if len(together) <= MOST_OWED or not self._owed:
            self._owed = together
            return
        left_out = len(together) - len(addresses)
        self._owed = addresses
        self._metrics.hits.note(Bound.ENDED_ADDRESSES, left_out)
        log.error(
            "connections of %d addresses that changed hands may go on: there are too many to remember",
            left_out,
        )

    async def end(self, addresses: frozenset[Address]) -> None:
        """End the connections of these addresses and of those for which it failed before; a failure is tried again.

        Soon after a long walk over all connections they are only noted, and a later call ends them together. What is in
        force does not depend on it, so a generation is acked also when it fails.
        """
        self.owe(addresses)
        due = self._walk_allowed if addresses else self._walk_again
        if self._owed and self._clock.now() >= due:
            await self._walk()

    async def finish(self) -> None:
        """End what must, since nobody will remember it."""
        if self._owed:
            await self._walk()

    async def _walk(self) -> None:
        begin, retry = self._clock.now(), 0.0
        try:
            count = await self._kernel.end_connections(self._owed)
        except ConnectionsError as error:
            self._lingering = error
            retry = pause(self._failed_walks)
            self._failed_walks += 1
            self._metrics.connections_lingered()
            log.error("connections that should have ended may go on, trying again: %s", plain(str(error)))
            return
        finally:
            end = self._clock.now()
            self._walk_allowed = end + min(WALK_PAUSE * (end - begin), LONGEST_WALK_PAUSE)
            self._walk_again = max(self._walk_allowed, end + retry)
        self._metrics.connections_ended(count)
        # Most nodes hold none: every node hears of every address of the cluster.
        level = logging.INFO if count else logging.DEBUG
        log.log(level, "ended %d connections of %d addresses that changed hands", count, len(self._owed))
        self._owed, self._lingering, self._failed_walks = frozenset(), None, 0
