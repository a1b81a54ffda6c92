"""From a rule set to the complete tables a node's kernel should hold.

Knows the form of class chains, pod chains and elements, and which slots of the base close when. Knows nothing of what
the kernel holds now: the difference is plan.py's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.words import PROTOCOLS, Address, Direction, Family, Protocol
from compilers.nftables.base import (
    CLOSED_FRAMES,
    CLOSED_LINK_LOCAL,
    CLOSED_TO_MANY,
    CLOSED_TUNNEL,
    CLOSED_UNKNOWN,
    Base,
)
from compilers.nftables.expressions import (
    DROP,
    RETURN,
    Counter,
    Expression,
    Match,
    Range,
    SetReference,
    Verdict,
    jump,
)
from compilers.nftables.table import (
    Chain,
    Element,
    NamedMap,
    NamedSet,
    Rule,
    SetDeclaration,
    SetKind,
    Table,
)
from compilers.nftables.words import Field, KeyType
from compilers.ruleset.names import family_name, pod_chain_name
from compilers.ruleset.parts import BlockSet, ClassRule, PodEntry, PolicyClass, PortSpan
from compilers.ruleset.rule_set import RuleSet

ADDRESS_KEY: Final = {Family.IPV4: KeyType.IPV4, Family.IPV6: KeyType.IPV6}
PORT_FIELD: Final = {
    Protocol.TCP: Field.TCP_PORT,
    Protocol.UDP: Field.UDP_PORT,
    Protocol.SCTP: Field.SCTP_PORT,
}
DESTINATION: Final = {Family.IPV4: Field.IP_DESTINATION, Family.IPV6: Field.IP6_DESTINATION}
SOURCE: Final = {Family.IPV4: Field.IP_SOURCE, Family.IPV6: Field.IP6_SOURCE}
PEER_FIELD: Final = {Direction.INGRESS: SOURCE, Direction.EGRESS: DESTINATION}
"""The peer is the source at an ingress gate and the destination at an egress gate."""

LOG_CHAIN: Final = {Direction.INGRESS: "log-ingress", Direction.EGRESS: "log-egress"}
GATE_MAP: Final = {Direction.INGRESS: "ingress", Direction.EGRESS: "egress"}
UNKNOWN_SLOT: Final = {Direction.INGRESS: "unknown-ingress", Direction.EGRESS: "unknown-egress"}
LINK_LOCAL_SLOT: Final = "link-local"
TO_MANY_SLOT: Final = "to-many"
TUNNEL_SLOT: Final = "tunnel"
FRAMES_SLOT: Final = "frames"


@dataclass(frozen=True, slots=True)
class Tables:
    """The two tables of a node: gates in family inet, the door for frames in family bridge."""

    inet: Table
    bridge: Table

    def each(self) -> tuple[Table, Table]:
        """Both, inet first."""
        return self.inet, self.bridge


Slots = Mapping[Direction, tuple[Rule, ...]]
"""What the slots for unknown addresses hold, by direction; those that are open are left out."""


def render_empty(base: Base) -> Tables:
    """The base alone: every slot open, nobody isolated."""
    return Tables(base.inet, base.bridge)


def render(rule_set: RuleSet, base: Base, closed_unknown: frozenset[Direction] = frozenset()) -> Tables:
    """The complete tables for a rule set.

    `closed_unknown`: directions in which packets of addresses that no known pod of the node has are dropped. The doors
    for link-local addresses, tunnelled packets and foreign frames shut as soon as any pod of the node is isolated, that
    for packets to many at once as soon as any is in ingress.
    """
    slots: dict[str, tuple[Rule, ...]] = {
        UNKNOWN_SLOT[direction]: CLOSED_UNKNOWN for direction in closed_unknown
    }
    frames: Mapping[str, tuple[Rule, ...]] = {}
    if rule_set.isolates:
        slots[LINK_LOCAL_SLOT] = CLOSED_LINK_LOCAL
        slots[TUNNEL_SLOT] = CLOSED_TUNNEL
        frames = {FRAMES_SLOT: CLOSED_FRAMES}
    if any(pod.ingress is not None for pod in rule_set.pods.values()):
        slots[TO_MANY_SLOT] = CLOSED_TO_MANY
    inet = base.inet
    return Tables(
        inet=replace(
            inet,
            sets=(*_filled_sets(inet, rule_set), *_sets(rule_set)),
            maps=tuple(_gates(inet, rule_set)),
            chains=(*_filled_slots(inet, slots), *_chains(rule_set)),
        ),
        bridge=replace(base.bridge, chains=tuple(_filled_slots(base.bridge, frames))),
    )


def with_slots(tables: Tables, slots: Slots) -> Tables:
    """The same tables, with exactly this in the slots for unknown addresses."""
    rules = {slot: slots.get(direction, ()) for direction, slot in UNKNOWN_SLOT.items()}
    chains = tuple(
        replace(chain, rules=rules[chain.name]) if chain.name in rules else chain
        for chain in tables.inet.chains
    )
    return replace(tables, inet=replace(tables.inet, chains=chains))


def _filled_slots(table: Table, slots: Mapping[str, tuple[Rule, ...]]) -> Iterator[Chain]:
    for chain in table.chains:
        yield replace(chain, rules=slots[chain.name]) if chain.name in slots else chain


def _filled_sets(table: Table, rule_set: RuleSet) -> Iterator[NamedSet]:
    """The base's sets: `known` holds every pod's addresses, `self` the pairs of each pod that has a gate."""
    elements: dict[str, frozenset[Element]] = {}
    for family in Family:
        pods = [(pod, of_family(pod.addresses, family)) for pod in rule_set.pods.values()]
        elements[f"known{family.value}"] = frozenset(
            address for _, addresses in pods for address in addresses
        )
        elements[f"self{family.value}"] = frozenset(
            (source, destination)
            for pod, addresses in pods
            if pod.ingress is not None or pod.egress is not None
            for source in addresses
            for destination in addresses
        )
    for one in table.sets:
        yield replace(one, elements=elements.get(one.declaration.name, one.elements))


def _gates(table: Table, rule_set: RuleSet) -> Iterator[NamedMap]:
    """The base's verdict maps: each isolated pod's addresses lead to its own chain."""
    elements: dict[str, dict[Element, Verdict]] = {}
    for direction in Direction:
        for pod in _isolated(rule_set, direction):
            verdict = jump(pod_chain_name(pod.uid, direction))
            for address in pod.addresses:
                elements.setdefault(f"{GATE_MAP[direction]}{address.version}", {})[address] = verdict
    for one in table.maps:
        yield NamedMap(one.declaration, elements.get(one.declaration.name, {}))


def _sets(rule_set: RuleSet) -> Iterator[NamedSet]:
    for family in Family:
        key = (ADDRESS_KEY[family],)
        for peers in rule_set.peer_sets.values():
            yield _set(family_name(peers.name, family), key, peers.of_family(family))
        for ports in rule_set.port_sets.values():
            triples = (
                (address, PROTOCOLS[protocol].number, number)
                for address, protocol, number in ports.of_family(family)
            )
            yield _set(family_name(ports.name, family), (*key, KeyType.PROTOCOL, KeyType.SERVICE), triples)
    for block in rule_set.block_sets.values():
        declaration = SetDeclaration(
            family_name(block.name, block.family), (ADDRESS_KEY[block.family],), SetKind.INTERVAL
        )
        yield NamedSet(declaration, frozenset(_range(block, first, last) for first, last in block.ranges))


def _set(name: str, key: tuple[KeyType, ...], elements: Iterable[Element]) -> NamedSet:
    return NamedSet(SetDeclaration(name, key), frozenset(elements))


def _range(block: BlockSet, first: int, last: int) -> Range:
    make = IPv4Address if block.family is Family.IPV4 else IPv6Address
    return Range(make(first), make(last))


def _chains(rule_set: RuleSet) -> Iterator[Chain]:
    for policy_class in rule_set.classes.values():
        yield Chain(policy_class.name, None, tuple(_class_rules(policy_class, rule_set)))
    for direction in Direction:
        for pod in _isolated(rule_set, direction):
            name = pod.class_of(direction)
            if name is not None:
                yield Chain(pod_chain_name(pod.uid, direction), None, (Rule((jump(name),)),))


def _isolated(rule_set: RuleSet, direction: Direction) -> Iterator[PodEntry]:
    for pod in rule_set.pods.values():
        if pod.addresses and pod.class_of(direction) is not None:
            yield pod


def _class_rules(policy_class: PolicyClass, rule_set: RuleSet) -> Iterator[Rule]:
    """What the class admits returns to the gates that follow; the end of the chain logs and drops."""
    for rule in policy_class.rules:
        for expressions in _matches(rule, policy_class.direction, rule_set):
            yield Rule((*expressions, RETURN))
    yield Rule((Counter(),))
    yield Rule((jump(LOG_CHAIN[policy_class.direction]),))
    # A rule of its own: a drop never depends on whether the packet could be logged.
    yield Rule((DROP,))


def _matches(rule: ClassRule, direction: Direction, rule_set: RuleSet) -> Iterator[tuple[Expression, ...]]:
    """One tuple of matches a family the rule speaks about; the port first, since it decides fastest."""
    if rule.peer is None and not isinstance(rule.ports, str):
        yield _span(rule.ports)
        return
    block = rule_set.block_sets.get(rule.peer) if rule.peer is not None else None
    for family in Family if block is None else (block.family,):
        if isinstance(rule.ports, str):
            fields = (DESTINATION[family], Field.PROTOCOL, Field.ANY_PORT)
            ports: tuple[Expression, ...] = (Match(fields, SetReference(family_name(rule.ports, family))),)
        else:
            ports = _span(rule.ports)
        if rule.peer is None:
            yield ports
        else:
            peer = Match((PEER_FIELD[direction][family],), SetReference(family_name(rule.peer, family)))
            yield (*ports, peer)


def _span(ports: PortSpan | None) -> tuple[Expression, ...]:
    if ports is None:
        return ()
    if ports.covers_all:
        return (Match((Field.PROTOCOL,), PROTOCOLS[ports.protocol].number),)
    operand = ports.first if ports.first == ports.last else Range(ports.first, ports.last)
    return (Match((PORT_FIELD[ports.protocol],), operand),)


def of_family(addresses: Iterable[Address], family: Family) -> tuple[Address, ...]:
    """The addresses of one family, in their order."""
    return tuple(address for address in addresses if address.version == family.value)
