"""The parts of a rule set: peer sets, named-port sets, block sets, classes, pods, legend entries.

Each is immutable and checks itself. Knows nothing of the whole they make together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from compilers.model.block import Range, merge
from compilers.model.faults import InvalidField, ObjectRef
from compilers.model.port import LAST_PORT
from compilers.model.settings import ExistingConnections
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.ruleset.names import NAME, NameKind, content_name

PortElement = tuple[Address, Protocol, int]


def check_name(name: str, *kinds: NameKind) -> None:
    """Raise InvalidField unless `name` is what content_name makes for one of these kinds."""
    if not NAME.fullmatch(name) or name.partition("-")[0] not in {kind.value for kind in kinds}:
        raise InvalidField("is not a name of this kind of object", ("name",))


@dataclass(frozen=True, slots=True)
class PeerSet:
    """The addresses that one distinct selector stands for; named by the selector, while its elements change."""

    name: str
    addresses: frozenset[Address] = frozenset()

    def __post_init__(self) -> None:
        check_name(self.name, NameKind.PEER_SET)

    def of_family(self, family: Family) -> tuple[Address, ...]:
        """The addresses of one family, sorted."""
        return tuple(sorted((item for item in self.addresses if item.version == family.value), key=int))


@dataclass(frozen=True, slots=True)
class PortSet:
    """Where a port name leads: (address, protocol, number) of every pod that gives the name a number."""

    name: str
    elements: frozenset[PortElement] = frozenset()

    def __post_init__(self) -> None:
        check_name(self.name, NameKind.PORT_SET)
        for _, _, number in self.elements:
            if not 1 <= number <= LAST_PORT:
                raise InvalidField(f"{number} is not a port", ("elements",))

    def of_family(self, family: Family) -> tuple[PortElement, ...]:
        """The elements of one family, sorted."""
        return tuple(
            sorted(
                (item for item in self.elements if item[0].version == family.value), key=port_element_order
            )
        )


def port_element_order(element: PortElement) -> tuple[int, int, str, int]:
    """A total order of named-port elements."""
    address, protocol, number = element
    return address.version, int(address), protocol.value, number


@dataclass(frozen=True, slots=True)
class BlockSet:
    """Disjoint ranges of one family, immutable, named by content. Ranges that touch are one range."""

    family: Family
    ranges: tuple[Range, ...]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        last_address = (1 << self.family.bits) - 1
        if any(not 0 <= first <= last <= last_address for first, last in self.ranges):
            raise InvalidField(f"is not a range of IPv{self.family.value} addresses", ("ranges",))
        if merge(self.ranges) != self.ranges:
            raise InvalidField("overlap, touch or are out of order", ("ranges",))
        parts = [str(self.family.value), *(f"{first}-{last}" for first, last in self.ranges)]
        object.__setattr__(self, "name", content_name(NameKind.BLOCK_SET, parts))

    def texts(self) -> tuple[tuple[str, str], ...]:
        """First and last address of each range, as text."""
        make = IPv4Address if self.family is Family.IPV4 else IPv6Address
        return tuple((str(make(first)), str(make(last))) for first, last in self.ranges)


@dataclass(frozen=True, slots=True, order=True)
class RuleRef:
    """One rule of one policy: `spec.ingress[index]` or `spec.egress[index]`, as the class's direction says."""

    namespace: str
    policy: str
    index: int


@dataclass(frozen=True, slots=True)
class PortSpan:
    """Ports of one protocol, first and last inclusive; 0 to 65535 is the protocol as such, whatever the port."""

    protocol: Protocol
    first: int = 0
    last: int = LAST_PORT

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= LAST_PORT:
            raise InvalidField(f"{self.first}-{self.last} is not a range of ports", ("ports",))

    @property
    def covers_all(self) -> bool:
        """Whether every port of the protocol is meant."""
        return self.first == 0 and self.last == LAST_PORT

    def __str__(self) -> str:
        return self.protocol.value if self.covers_all else f"{self.protocol.value} {self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Admits a packet whose peer is in `peer` and whose destination is in `ports`.

    `peer`: the name of a peer set or block set; None is everyone. `ports`: a span, the name of a named-port set (which
    holds destination addresses too), or None for every port of every protocol. The peer is the source at an ingress
    gate and the destination at an egress gate.
    """

    peer: str | None
    ports: PortSpan | str | None
    origin: RuleRef

    def __post_init__(self) -> None:
        if self.peer is not None:
            check_name(self.peer, NameKind.PEER_SET, NameKind.BLOCK_SET)
        if isinstance(self.ports, str):
            check_name(self.ports, NameKind.PORT_SET)

    def parts(self) -> tuple[str, ...]:
        """What makes this rule what it is, for the name of its class."""
        origin = (self.origin.namespace, self.origin.policy, str(self.origin.index))
        if isinstance(self.ports, PortSpan):
            ports = f"{self.ports.protocol.value} {self.ports.first}-{self.ports.last}"
        else:
            ports = self.ports or "*"
        return (self.peer or "*", ports, *origin)


@dataclass(frozen=True, slots=True)
class PolicyClass:
    """The policies that select a pod in one direction, compiled. Immutable, named by content.

    `policies` are those that isolate, sorted; `rules` what they admit together. Pods with equal classes share one.
    """

    direction: Direction
    policies: tuple[ObjectRef, ...]
    rules: tuple[ClassRule, ...]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if not self.policies:
            raise InvalidField("must not be empty: without a policy nothing is isolated", ("policies",))
        kind = NameKind.INGRESS_CLASS if self.direction is Direction.INGRESS else NameKind.EGRESS_CLASS
        parts: list[str] = [str(len(self.policies))]
        for policy in self.policies:
            parts += (policy.namespace, policy.name)
        for rule in self.rules:
            parts += rule.parts()
        object.__setattr__(self, "name", content_name(kind, parts))

    @property
    def set_names(self) -> frozenset[str]:
        """Names of every set that the rules refer to."""
        named: Iterable[str | PortSpan | None] = (
            part for rule in self.rules for part in (rule.peer, rule.ports)
        )
        return frozenset(part for part in named if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class PodEntry:
    """A pod of the node: its addresses (none yet while it is only bound) and the class of each gate.

    None as a class: no policy isolates the pod in that direction. `existing`: what becomes of open connections that one of
    its gates no longer admits.
    """

    uid: str
    namespace: str
    name: str
    addresses: tuple[Address, ...] = ()
    ingress: str | None = None
    egress: str | None = None
    existing: ExistingConnections = ExistingConnections.KEEP

    def __post_init__(self) -> None:
        if not self.uid:
            raise InvalidField("must not be empty", ("uid",))
        if self.ingress is not None:
            check_name(self.ingress, NameKind.INGRESS_CLASS)
        if self.egress is not None:
            check_name(self.egress, NameKind.EGRESS_CLASS)
        ordered = tuple(sorted(set(self.addresses), key=address_order))
        object.__setattr__(self, "addresses", ordered)

    def class_of(self, direction: Direction) -> str | None:
        """The class of one gate, or None when it is open."""
        return self.ingress if direction is Direction.INGRESS else self.egress


def address_order(address: Address) -> tuple[int, int]:
    """A total order of addresses: IPv4 before IPv6, then by number."""
    return address.version, int(address)


@dataclass(frozen=True, slots=True, order=True)
class LegendEntry:
    """Who an address is: a pod and the workload that owns it ("" where it is a bare pod).

    The uid tells a pod from a later one of the same name.
    """

    namespace: str
    pod: str
    uid: str
    workload_kind: str = ""
    workload_name: str = ""

    def __post_init__(self) -> None:
        if not self.uid:
            raise InvalidField("must not be empty", ("uid",))
