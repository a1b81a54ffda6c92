"""What one policy admits in one direction, as rules of a class, and which sets these refer to, not yet made.

Knows what a rule admits. Knows nothing of the other policies of a class, or of how a kernel holds one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from compilers.compile.selection import Members, NodePods, Selection
from compilers.model.block import IpBlock
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule
from compilers.model.port import PortMatch
from compilers.model.words import Direction, Protocol
from compilers.ruleset.parts import BlockSet, ClassRule, PortSpan, RuleRef

Term = tuple[str | None, PortSpan | str | None]
"""Peer and ports of a class rule."""
PortName = tuple[str, Protocol]


@dataclass(slots=True)
class Admission:
    """Rules by what they admit, and the sets that they name."""

    rules: dict[Term, ClassRule] = field(default_factory=dict)
    peers: dict[str, Members] = field(default_factory=dict)
    ports: dict[str, Members] = field(default_factory=dict)
    blocks: dict[str, BlockSet] = field(default_factory=dict)
    of_node: bool = False
    """Whether it is another on another node."""

    def add(self, other: "Admission") -> None:
        """Admit what the other admits, too."""
        for term, rule in other.rules.items():
            # The first rule that admits something is its origin; a repeat would admit nothing more.
            self.rules.setdefault(term, rule)
        self.peers |= other.peers
        self.ports |= other.ports
        self.blocks |= other.blocks
        self.of_node |= other.of_node


class Admissions:
    """What policies admit in one cluster state; each is worked out once, however many classes it is part of."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._known: dict[tuple[str, str, Direction, str], Admission] = {}

    def of(self, policy: NetworkPolicy, direction: Direction, node: NodePods) -> Admission:
        """What a policy that isolates in this direction admits there."""
        key = (policy.namespace, policy.name, direction)
        for place in ("", node.name):
            if (*key, place) in self._known:
                return self._known[*key, place]
        found = self._admission(policy, direction, node)
        self._known[*key, node.name if found.of_node else ""] = found
        return found

    def _admission(self, policy: NetworkPolicy, direction: Direction, node: NodePods) -> Admission:
        found = Admission()
        for index, rule in enumerate(policy.sides[direction].rules):
            origin = RuleRef(policy.namespace, policy.name, index)
            for peer, ports in self._terms(found, policy, direction, rule, node):
                if (peer, ports) not in found.rules:
                    found.rules[peer, ports] = ClassRule(peer, ports, origin)
        return found

    def _terms(
        self,
        found: Admission,
        policy: NetworkPolicy,
        direction: Direction,
        rule: PolicyRule,
        node: NodePods,
    ) -> Iterator[Term]:
        # API: "If this field is empty or missing, this rule matches all sources" (destinations, ports).
        peers: tuple[Peer | None, ...] = rule.peers or (None,)
        ports: tuple[PortMatch | None, ...] = rule.ports or (None,)
        for peer in peers:
            names: tuple[str | None, ...] | None = None
            for port in ports:
                if port is not None and isinstance(port.port, str):
                    named = (port.port, port.protocol)
                    if direction is Direction.EGRESS:
                        # The set holds the destinations itself.
                        yield from self._destinations(found, policy, peer, named)
                        continue
                    what: PortSpan | str | None = self._subjects(found, policy, node, named)
                else:
                    what = _span(port)
                names = self._peer(found, policy, peer) if names is None else names
                yield from ((name, what) for name in names)

    def _subjects(self, found: Admission, policy: NetworkPolicy, node: NodePods, port: PortName) -> str:
        members = self._selection.subject_ports(policy, node, *port)
        found.of_node = True
        found.ports[members.name] = members
        return members.name

    def _destinations(
        self, found: Admission, policy: NetworkPolicy, peer: Peer | None, port: PortName
    ) -> Iterator[Term]:
        if isinstance(peer, IpBlock):
            # A block's addresses have no containers, so nothing there gives the name a number.
            return
        members = self._selection.peer_ports(policy.namespace, peer, *port)
        found.ports[members.name] = members
        yield None, members.name

    def _peer(self, found: Admission, policy: NetworkPolicy, peer: Peer | None) -> tuple[str | None, ...]:
        if peer is None:
            return (None,)
        if isinstance(peer, IpBlock):
            block = _block_set(peer)
            if block is None:
                return ()
            found.blocks[block.name] = block
            return (block.name,)
        members = self._selection.peers(policy.namespace, peer)
        found.peers[members.name] = members
        return (members.name,)


def _block_set(block: IpBlock) -> BlockSet | None:
    ranges = block.ranges()
    return BlockSet(block.family, ranges) if ranges else None


def _span(port: PortMatch | None) -> PortSpan | None:
    if port is None:
        return None
    if port.interval is None:
        # API: "If this field is not provided, this matches all port names and numbers" of the protocol.
        return PortSpan(port.protocol)
    return PortSpan(port.protocol, *port.interval)
