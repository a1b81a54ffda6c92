"""What a probe is and what came of it, as values.

Knows outcomes and what each errno of a socket stands for. Sends nothing.
"""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from policy_controller.testing.laboratory.addresses import Address

IDENTITY: Final = re.compile(r"[!-~]{1,200}")


class ProbeError(Exception):
    """A probe, listener or conversation that cannot be made as asked; the text says why."""


class Transport(Enum):
    """How a probe knocks. The value is the word used in reports."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    ICMP = "ICMP"
    """An echo request: ICMP to an IPv4 destination, ICMPv6 to an IPv6 one. Has no port."""


class Outcome(Enum):
    """What the sender saw."""

    ACCEPTED = "accepted"
    """The destination answered (TCP: handshake and answer); if a peer was expected, it was that peer."""
    REFUSED = "refused"
    """A reset, an SCTP ABORT, or ICMP port or protocol unreachable: someone said no."""
    TIMED_OUT = "timed out"
    """Nobody said anything, to at least two packets: the network dropped them or the answers."""
    UNREACHABLE = "unreachable"
    """ICMP host, network or administratively unreachable, or no route at the source; see the reason."""
    WRONG_PEER = "wrong peer"
    """Someone else than the expected peer answered: address reuse or a DNAT gone astray."""
    ERROR = "error"
    """The probe could not be sent as asked, e.g. a source address the namespace lacks; see the reason."""


OUTCOME_OF_ERRNO: Final[Mapping[int, Outcome]] = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.ENOPROTOOPT: Outcome.REFUSED,  # ICMP "protocol unreachable"
    errno.EPROTO: Outcome.REFUSED,  # ICMPv6 "unrecognized next header"
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EACCES: Outcome.UNREACHABLE,  # ICMPv6 "administratively prohibited"
    errno.EPERM: Outcome.UNREACHABLE,  # dropped by the source namespace's own output hook
    errno.ETIMEDOUT: Outcome.TIMED_OUT,
}
"""Every other errno is Outcome.ERROR: it says something of us, not of the network."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a probe starts: a named namespace and, if it matters, one of its addresses."""

    namespace: str
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the network: does this reach that, and who answers?

    `port` is None for ICMP and 1..65535 otherwise. `peer` is the identity that shall answer, None if any may.
    """

    source: Endpoint
    destination: Address
    transport: Transport
    port: int | None = None
    source_port: int | None = None
    peer: str | None = None

    def __post_init__(self) -> None:
        if (self.port is None) != (self.transport is Transport.ICMP):
            raise ProbeError(f"a port of {self.port} does not go with {self.transport.value}")
        for number in (self.port, self.source_port):
            if number is not None and not 1 <= number <= 65535:
                raise ProbeError(f"{number} is not a port")
        if self.source_port is not None and self.transport is Transport.ICMP:
            raise ProbeError("ICMP has no source port")
        if self.source.address is not None and self.source.address.version != self.destination.version:
            raise ProbeError(f"{self.source.address} and {self.destination} are of two families")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one exchange ended with: an outcome and who spoke, before the expected peer is considered."""

    outcome: Outcome
    peer: str | None = None
    reason: str = ""

    @classmethod
    def of_errno(cls, number: int) -> "Answer":
        """The answer that a socket's errno stands for."""
        return cls(OUTCOME_OF_ERRNO.get(number, Outcome.ERROR), reason=os.strerror(number))


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of a probe.

    `peer` is the identity that answered (None: nobody, or ICMP, which has none).
    `elapsed_ms` runs from the first packet to the answer or the verdict "timed out"; `connected_ms` to the
    end of the TCP handshake (None: there was none). `sent_at` is time.monotonic() at the first packet. `repeats` counts the
    TCP segments that the kernel had to send again before the answer came: a packet was lost, though nobody else would see it.
    """

    probe: Probe
    outcome: Outcome
    peer: str | None
    reason: str
    sent_at: float
    elapsed_ms: float
    connected_ms: float | None = None
    repeats: int = 0


def checked_identity(identity: str) -> str:
    """`identity` itself, if it can travel in one word. Raises ProbeError otherwise."""
    if not IDENTITY.fullmatch(identity):
        raise ProbeError(
            f"{identity!r} cannot be an identity: use 1 to 200 printable ASCII characters, no space"
        )
    return identity
