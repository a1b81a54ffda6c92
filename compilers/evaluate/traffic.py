"""Traffic: the first packet of a connection, as a policy sees it.

Knows two ends, a protocol and a destination port. For Service traffic that is the backend's address and port and the
client's own address: policy judges after DNAT and before SNAT. Knows nothing of verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compilers.evaluate.ends import End, end_at
from compilers.model.cluster import Cluster
from compilers.model.faults import InvalidField
from compilers.model.port import LAST_PORT
from compilers.model.words import PROTOCOL_BY_NUMBER, Address, Family, Protocol, family_of

ICMP: Final[Mapping[Family, int]] = {Family.IPV4: 1, Family.IPV6: 58}
"""The IANA number of each family's ICMP."""

_NAMES: Final[Mapping[int, str]] = {1: "ICMP", 58: "ICMPv6"}


def protocol_text(protocol: Protocol | int) -> str:
    """The protocol's name, or `protocol 47` for one that has no name here."""
    if isinstance(protocol, Protocol):
        return protocol.value
    return _NAMES.get(protocol, f"protocol {protocol}")


@dataclass(frozen=True, slots=True)
class Traffic:
    """One first packet.

    `protocol` is one that policies can name, and then `port` is its destination port (0..65535: a packet may carry 0,
    though no policy can name it); or the IANA number of any other protocol, and then there is no port.
    Raises InvalidField for anything else, and when the two addresses are of different families.
    """

    source: End
    destination: End
    protocol: Protocol | int
    port: int | None

    def __post_init__(self) -> None:
        if family_of(self.source.address) is not family_of(self.destination.address):
            raise InvalidField(
                f"{self.source.address} and {self.destination.address} are of different families",
                ("destination",),
            )
        if isinstance(self.protocol, Protocol):
            if self.port is None or not 0 <= self.port <= LAST_PORT:
                raise InvalidField(f"{self.protocol.value} needs a port of 0 to {LAST_PORT}", ("port",))
            return
        if not 0 <= self.protocol <= 255:
            raise InvalidField(f"{self.protocol} is no IP protocol number", ("protocol",))
        if self.protocol in PROTOCOL_BY_NUMBER:
            raise InvalidField(f"{self.protocol} is {PROTOCOL_BY_NUMBER[self.protocol].value}", ("protocol",))
        if self.port is not None:
            raise InvalidField(f"{protocol_text(self.protocol)} has no port", ("port",))

    @property
    def family(self) -> Family:
        """The family of both addresses."""
        return family_of(self.source.address)

    @property
    def service(self) -> str:
        """Protocol and port in words: `TCP 443`, `ICMP`."""
        name = protocol_text(self.protocol)
        return name if self.port is None else f"{name} {self.port}"

    def __str__(self) -> str:
        return f"{_located(self.source)} -> {_located(self.destination)}, {self.service}"


def _located(end: End) -> str:
    text, address = str(end), str(end.address)
    return text if text == address else f"{text} ({address})"


def traffic_between(
    cluster: Cluster, source: Address, destination: Address, protocol: Protocol | int, port: int | None
) -> Traffic:
    """Traffic between whoever answers to the two addresses in this cluster state."""
    return Traffic(end_at(cluster, source), end_at(cluster, destination), protocol, port)
