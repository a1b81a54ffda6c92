"""The closed vocabularies: protocol, direction, family, and the words each has in the API and in nft.

Knows numbers and spellings. Knows no object that uses them.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Protocol(enum.Enum):
    """A transport that a NetworkPolicyPort may name; the value is the API's spelling."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Direction(enum.Enum):
    """One gate of a pod; the value is the API's spelling in `policyTypes`."""

    INGRESS = "Ingress"
    EGRESS = "Egress"

    @property
    def field(self) -> str:
        """The field of a NetworkPolicy spec that holds the rules of this direction."""
        return self.value.lower()

    @property
    def peer_field(self) -> str:
        """The field of such a rule that holds the peers."""
        return "from" if self is Direction.INGRESS else "to"


class Family(enum.Enum):
    """An address family; the value is the digit that names of sets and maps carry."""

    IPV4 = 4
    IPV6 = 6

    @property
    def bits(self) -> int:
        """Length of an address in bits."""
        return FAMILY_BITS[self]


FAMILY_BITS: Final[Mapping[Family, int]] = {Family.IPV4: 32, Family.IPV6: 128}


@dataclass(frozen=True, slots=True)
class ProtocolWords:
    """A transport's IANA protocol number and its name in nft."""

    number: int
    nft: str


PROTOCOLS: Final[Mapping[Protocol, ProtocolWords]] = {
    Protocol.TCP: ProtocolWords(number=6, nft="tcp"),
    Protocol.UDP: ProtocolWords(number=17, nft="udp"),
    Protocol.SCTP: ProtocolWords(number=132, nft="sctp"),
}
PROTOCOL_BY_NUMBER: Final[Mapping[int, Protocol]] = {
    words.number: protocol for protocol, words in PROTOCOLS.items()
}


def family_of(address: Address | Network) -> Family:
    """The family of an address or network."""
    return Family.IPV4 if address.version == 4 else Family.IPV6
