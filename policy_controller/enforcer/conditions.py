"""Whether what enforcement needs of the node stays there: what goes away is said at once, and that it is back.

Knows when to look again. Knows nothing of needs (preflight.py), and mends nothing: sysctls and modules are the node's business.
The kernel tells nobody of a sysctl, so these few are read four times a second; of links it tells.
"""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from pyroute2.netlink import NETLINK_ROUTE
from pyroute2.netlink.exceptions import NetlinkError

from policy_controller.clock import Clock
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.netlink import RECEIVED, new_socket
from policy_controller.enforcer.preflight import Finding, Weight
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
LINKS_SECONDS: Final = 0.75
"""Between two looks at the links: they come and go with every pod, and listing some hundred takes 50 ms."""
RTMGRP_LINK: Final = 1


class LinkNews(Protocol):
    """Whether links have come, gone or changed."""

    def any(self) -> bool:
        """Since the last question. Raises OSError."""
        ...


class KernelLinkNews:
    """The kernel's word, for the network namespace in which the calling thread is. Raises OSError."""

    def __init__(self) -> None:
        self._socket = new_socket(NETLINK_ROUTE)
        try:
            self._socket.bind((0, RTMGRP_LINK))
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def any(self) -> bool:
        """See LinkNews."""
        found = False
        while True:
            try:
                self._socket.recv(RECEIVED, socket.MSG_TRUNC)
            except BlockingIOError:
                return found
            except OSError as error:
                # More was told than there was room for.
                if error.errno != errno.ENOBUFS:
                    raise
            found = True

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class Conditions:
    """Of one node. `look` finds what is missing; `sysctls` gives something that is other when a sysctl is."""

    def __init__(
        self,
        look: Callable[[], Awaitable[tuple[Finding, ...]]],
        sysctls: Callable[[], object],
        links: LinkNews,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._look = look
        self._sysctls = sysctls
        self._links = links
        self._metrics = metrics
        self._clock = clock
        self._missing: tuple[Finding, ...] | None = None
        self._due: float | None = None

    @property
    def missing(self) -> tuple[Finding, ...]:
        """What was missing at the last look, in the order of `look`."""
        return self._missing or ()

    def late_seconds(self) -> float:
        """For how long what is said here has been older than it may be."""
        return 0.0 if self._due is None else max(0.0, self._clock.now() - self._due)

    async def watch(self) -> None:
        """Look again and again. Never returns."""
        before: object = None
        news, looked = True, self._clock.now() - LINKS_SECONDS
        while True:
            self._due = self._clock.now() + LOOK_SECONDS
            try:
                sysctls, now = self._sysctls(), self._clock.now()
                news = self._links.any() or news
                if sysctls != before or (news and now - looked >= LINKS_SECONDS):
                    before, news, looked = sysctls, False, now
                    self._say(await self._look())
            except (OSError, NetlinkError) as error:
                reason = plain(str(error))
                self._say((Finding(Weight.NOT_READY, f"the node cannot be looked at: {reason}"),))
                news = True
            self._due = self._clock.now() + 2 * LOOK_SECONDS
            await self._clock.sleep(LOOK_SECONDS)

    def _say(self, missing: tuple[Finding, ...]) -> None:
        if self._missing is not None:
            # What was missing at the start has been said by then (main.py).
            for one in missing:
                if one not in self._missing:
                    log.error("%s", one.sentence)
            for one in self._missing:
                if one not in missing:
                    log.info("mended: %s", one.sentence)
        self._missing = missing
        self._metrics.missing(len(missing))
