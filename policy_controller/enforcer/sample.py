"""One of each form that rule sets put into the tables, so that a kernel can be asked beforehand whether it takes them.

Knows the forms. Nothing of it is ever put in force: it is shown to the kernel in a dry run (preflight.py).
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.faults import ObjectRef
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.nftables.base import Base
from compilers.nftables.render import Tables, render, with_slots
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import (
    BlockSet,
    ClassRule,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortSet,
    PortSpan,
    RuleRef,
)
from compilers.ruleset.rule_set import RuleSet

NAME: Final = "sample"
# Of the blocks for documentation (RFC 5737, RFC 3849): nobody's addresses.
ADDRESSES: Final[dict[Family, tuple[Address, ...]]] = {
    Family.IPV4: (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
    Family.IPV6: (IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")),
}
OWN: Final = tuple(addresses[0] for addresses in ADDRESSES.values())
PEERS: Final = PeerSet(
    content_name(NameKind.PEER_SET, (NAME,)), frozenset(addresses[1] for addresses in ADDRESSES.values())
)
PORTS: Final = PortSet(
    content_name(NameKind.PORT_SET, (NAME,)),
    frozenset((address, protocol, 80) for address in OWN for protocol in Protocol),
)
BLOCKS: Final = tuple(
    BlockSet(family, ((int(first), int(first) + 1), (int(first) + 4, int(first) + 4)))
    for family, (first, _) in ADDRESSES.items()
)
SPANS: Final = tuple(
    span
    for protocol in Protocol
    for span in (PortSpan(protocol), PortSpan(protocol, 80, 80), PortSpan(protocol, 8000, 8080))
)


def _class(direction: Direction) -> PolicyClass:
    origin = RuleRef(NAME, NAME, 0)
    peers = (None, PEERS.name, *(block.name for block in BLOCKS))
    rules = [ClassRule(peer, ports, origin) for peer in peers for ports in (None, PORTS.name, *SPANS)]
    return PolicyClass(direction, (ObjectRef("NetworkPolicy", NAME, NAME),), tuple(rules))


def sample() -> RuleSet:
    """A rule set with every kind of peer and of ports in both directions, and a pod of both families that has them."""
    classes = {direction: _class(direction) for direction in Direction}
    pod = PodEntry(
        uid=NAME,
        namespace=NAME,
        name=NAME,
        addresses=OWN,
        ingress=classes[Direction.INGRESS].name,
        egress=classes[Direction.EGRESS].name,
    )
    return RuleSet.of(
        NAME,
        peer_sets=[PEERS],
        port_sets=[PORTS],
        block_sets=BLOCKS,
        classes=classes.values(),
        pods=[pod],
        legend={address: LegendEntry(NAME, NAME, NAME) for address in (*OWN, *PEERS.addresses)},
    )


def sample_tables(base: Base) -> tuple[Tables, ...]:
    """The tables that it makes, once for each content that a slot may have."""
    closed = render(sample(), base, frozenset(Direction))
    return closed, with_slots(closed, base.closed_untold)
