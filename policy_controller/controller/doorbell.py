"""Knocks at the operator's own door: whether whoever connects is still answered.

Knows TLS and times. Knows nothing of gRPC: it goes as far as a handshake, which its core answers from threads of its own, and
asks for a certificate as every handshake does. Nobody would notice otherwise: streams that are open go on without it.
"""

import asyncio
import errno
import logging
import ssl
from collections.abc import Callable
from typing import Final

from policy_controller.clock import Clock, within
from policy_controller.wire.channel import HostPort

log = logging.getLogger(__name__)

KNOCK_SECONDS: Final = 30.0
"""Between two knocks."""
ANSWER_SECONDS: Final = 10.0
FLOOD_EACH_SECOND: Final = 100.0
"""Handshakes with others that a door may begin without being too busy for one more: a core does some ten times as many.
Of a door that begins fewer and answers nobody, none of these has an end either, as far as anybody can tell."""
OWN_WANT: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Whoever knocks has no descriptor for it: nothing is known of who would answer."""
NEAR: Final = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}  # noqa: S104 - addresses that stand for all of them
"""Where somebody who listens everywhere is found; gRPC listens on `::` for both families."""


class Doorbell:
    """Of one operator. Use from one event loop.

    `handshakes`: how many the door has begun, with anybody; of their ends gRPC does not tell. A door in a flood of them is
    busy, and not stuck.
    """

    def __init__(self, clock: Clock, handshakes: Callable[[], int]) -> None:
        self._clock = clock
        self._handshakes = handshakes
        self._unanswered_since: float | None = None
        self.answered = 0
        """Knocks that were answered: handshakes that nobody else began."""

    def unanswered_seconds(self) -> float:
        """For how long nobody has answered; 0 when the last knock was."""
        since = self._unanswered_since
        return 0.0 if since is None else self._clock.now() - since

    async def run(self, address: HostPort) -> None:
        """Knock there again and again. Ends only by cancellation."""
        near = HostPort(NEAR.get(address.host, address.host), address.port)
        while True:
            # Counted from before the pause: a knock that is refused at once sees nothing of a flood.
            since, before = self._clock.now(), self._handshakes()
            await self._clock.sleep(KNOCK_SECONDS)
            began = self._clock.now()
            try:
                await within(self._clock, ANSWER_SECONDS, _knock(near))
            except Exception as fault:  # noqa: BLE001 - whatever it is, nobody answers
                self._unheard(near, began, fault, self._handshakes() - before, self._clock.now() - since)
            else:
                self._unanswered_since = None
                self.answered += 1

    def _unheard(self, door: HostPort, began: float, fault: Exception, begun: int, seconds: float) -> None:
        """A knock was not answered; so many handshakes were begun in so many seconds, of which one may be its own."""
        if begun > FLOOD_EACH_SECOND * seconds:
            # A door that stopped after the flood is known by the next knock.
            self._unanswered_since = None
            return
        if isinstance(fault, OSError) and fault.errno in OWN_WANT:
            return
        # Who was never heard may be somewhere else than here: a machine whose loopback does not lead to it.
        if self._unanswered_since is None and self.answered:
            self._unanswered_since = began
            log.warning("a connection to %s, where nodes are served, is not answered: %r", door, fault)


async def _knock(address: HostPort) -> None:
    """Raises what asyncio and ssl do: OSError, mostly."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whoever answers there is ourselves; whether clients may trust us they find out.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    # Not closed in good order: whoever is stuck would not answer that either.
    writer.transport.abort()
