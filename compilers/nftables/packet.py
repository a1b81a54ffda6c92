"""A packet as nft's rules see it, and its fields laid out for quick comparison.

Knows headers only as far as fields look at them. Knows nothing of tables.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.nftables.words import ConntrackState, Field, InvalidNftError

TCP: Final = 6
ICMPV6: Final = 58
ETHER_IP: Final = 0x0800
ETHER_IP6: Final = 0x86DD
# Protocols whose destination port each field reads; `th dport` reads that of any of them.
PORT_FIELDS: Final[Mapping[int, Field | None]] = {
    6: Field.TCP_PORT,
    17: Field.UDP_PORT,
    132: Field.SCTP_PORT,
    136: None,
}


class PacketHook(enum.Enum):
    """Where the packet is met: routed or bridged through the node, to the node, or as a frame of a bridge."""

    FORWARD = "inet forward"
    INPUT = "inet input"
    BRIDGE_FORWARD = "bridge forward"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet at one hook.

    `protocol` is the IP protocol number, `destination_port` is given exactly for TCP, UDP, SCTP and UDP-Lite,
    `icmpv6_type` exactly for ICMPv6; `oifname` is not looked at in INPUT. `source_is_local`: the source is an address of the node itself;
    `destination_is_broadcast`: the destination is a broadcast address of a network that the node is in, or 255.255.255.255.
    `destination_link`: the interface by which the node itself would send to the destination, `oifname` unless given: a frame
    on a bridge goes by its MAC.
    `translated`: the node itself has rewritten the destination, as it does for a Service.
    `original`: address and port to which the connection's first packet was sent, before anything was rewritten; the
    packet's own unless given.
    `hop_limit` is looked at in IPv6 only.
    A TCP packet of a new connection begins it (SYN), and every packet travels as the first one of its connection did.
    It has no source port: only sets that the kernel alone fills hold any.
    `ether_type` follows from the addresses unless given (a tagged frame has 0x8100). Raises InvalidNftError.
    """

    hook: PacketHook
    iifname: str
    oifname: str
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    destination_port: int | None = None
    icmpv6_type: int | None = None
    state: ConntrackState = ConntrackState.NEW
    source_is_local: bool = False
    destination_is_broadcast: bool = False
    destination_link: str | None = None
    translated: bool = False
    original: tuple[IPv4Address | IPv6Address, int] | None = None
    hop_limit: int = 64
    ether_type: int | None = None

    def __post_init__(self) -> None:
        """Refuse mixed families, and a port or type that the protocol does not have."""
        if self.source.version != self.destination.version:
            raise InvalidNftError("packet", "has addresses of two families")
        if (self.destination_port is not None) is not (self.protocol in PORT_FIELDS):
            raise InvalidNftError("packet", f"a port is given exactly for protocols {sorted(PORT_FIELDS)}")
        if (self.icmpv6_type is not None) is not (self.protocol == ICMPV6):
            raise InvalidNftError("packet", "a type is given exactly for ICMPv6")


FIELDS: Final = tuple(Field)
PLACE: Final[Mapping[Field, int]] = {field: place for place, field in enumerate(FIELDS)}
"""Index of each field in what `laid_out` returns."""

Laid = list[int | str | ConntrackState | None]

_IP_SOURCE, _IP_DESTINATION = PLACE[Field.IP_SOURCE], PLACE[Field.IP_DESTINATION]
_IP6_SOURCE, _IP6_DESTINATION = PLACE[Field.IP6_SOURCE], PLACE[Field.IP6_DESTINATION]
_PROTOCOL, _ANY_PORT, _ICMPV6 = PLACE[Field.PROTOCOL], PLACE[Field.ANY_PORT], PLACE[Field.ICMPV6_TYPE]
_IN, _OUT, _STATE = PLACE[Field.IN_INTERFACE], PLACE[Field.OUT_INTERFACE], PLACE[Field.CONNTRACK_STATE]
_ETHER, _KIND, _DESTINATION_KIND = (
    PLACE[Field.ETHER_TYPE],
    PLACE[Field.SOURCE_KIND],
    PLACE[Field.DESTINATION_KIND],
)
_HOP_LIMIT: Final = PLACE[Field.HOP_LIMIT]
_STATUS: Final = PLACE[Field.CONNTRACK_STATUS]
_DIRECTION: Final = PLACE[Field.CONNTRACK_DIRECTION]
_TCP_FLAGS: Final = PLACE[Field.TCP_FLAGS]
_DESTINATION_LINK: Final = PLACE[Field.DESTINATION_LINK]
_ORIGINAL_IP: Final = PLACE[Field.ORIGINAL_IP_DESTINATION]
_ORIGINAL_IP6: Final = PLACE[Field.ORIGINAL_IP6_DESTINATION]
_ORIGINAL_PORT: Final = PLACE[Field.ORIGINAL_PORT]
_PORT_PLACES: Final = {number: PLACE[field] for number, field in PORT_FIELDS.items() if field is not None}


def laid_out(packet: Packet) -> Laid:
    """Return the packet's value for each field at its PLACE, addresses as numbers, None where it has none.

    A field that is None meets no comparison, neither `==` nor `!=`: nft leaves the rule there. In the bridge family the
    IP header of a frame whose ether type is not that of IP is not looked at.
    """
    laid: Laid = [None] * len(FIELDS)
    is_ip4 = packet.source.version == 4
    ether = packet.ether_type if packet.ether_type is not None else (ETHER_IP if is_ip4 else ETHER_IP6)
    if packet.hook is PacketHook.BRIDGE_FORWARD:
        # Only frames have an Ethernet header to look at: routed packets of a tunnel have none.
        laid[_ETHER] = ether
    laid[_IN] = packet.iifname
    # Without an outgoing interface nft compares with the empty name.
    laid[_OUT] = packet.oifname if packet.hook is not PacketHook.INPUT else ""
    if ether not in (ETHER_IP, ETHER_IP6):
        return laid
    if is_ip4:
        laid[_IP_SOURCE], laid[_IP_DESTINATION] = int(packet.source), int(packet.destination)
    else:
        laid[_IP6_SOURCE], laid[_IP6_DESTINATION] = int(packet.source), int(packet.destination)
        laid[_ICMPV6] = packet.icmpv6_type
    called, port = packet.original or (packet.destination, packet.destination_port)
    laid[_ORIGINAL_IP if is_ip4 else _ORIGINAL_IP6], laid[_ORIGINAL_PORT] = int(called), port
    laid[_PROTOCOL] = packet.protocol
    laid[_STATE] = packet.state
    laid[_STATUS] = "dnat" if packet.translated else ""
    laid[_DIRECTION] = "original"
    laid[_KIND] = "local" if packet.source_is_local else "unicast"
    laid[_DESTINATION_KIND] = "broadcast" if packet.destination_is_broadcast else "unicast"
    laid[_DESTINATION_LINK] = packet.destination_link if packet.destination_link is not None else laid[_OUT]
    laid[_HOP_LIMIT] = None if is_ip4 else packet.hop_limit
    if packet.destination_port is not None:
        laid[_ANY_PORT] = packet.destination_port
        if packet.protocol == TCP:
            laid[_TCP_FLAGS] = "syn" if packet.state is ConntrackState.NEW else ""
        place = _PORT_PLACES.get(packet.protocol)
        if place is not None:
            laid[place] = packet.destination_port
    return laid
