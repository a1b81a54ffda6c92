"""The compiler: classes of a node's pods, and every set they refer to.

Knows what a rule admits and turns it into class rules. Knows nothing of how a selector finds its members
(selection.py) or of how a kernel holds a class.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from compilers.compile.selection import Selection
from compilers.model.block import IpBlock
from compilers.model.cluster import Cluster, Pod
from compilers.model.faults import ObjectRef
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule
from compilers.model.port import PortMatch
from compilers.model.words import Address, Direction
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


class Compiler:
    """Compiles the rule set of any node of one cluster state; nodes share what was found for another."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._selection = Selection(cluster)
        self._policies: dict[str, list[NetworkPolicy]] = {}
        for policy in cluster.policies:
            self._policies.setdefault(policy.namespace, []).append(policy)
        self._pods: dict[str, list[Pod]] = {}
        for pod in cluster.pods:
            if pod.node is not None and pod.has_gates:
                self._pods.setdefault(pod.node, []).append(pod)

    def node(self, name: str) -> RuleSet:
        """The rule set of a node; a node without pods has an empty one."""
        draft = _Draft()
        for pod in self._pods.get(name, ()):
            addresses = self._cluster.addresses_of(pod)
            if pod.addresses and not addresses:
                # Every address it reports belongs to another pod by now: that pod's gates stand there.
                continue
            names = {direction: self._class_of(draft, name, pod, direction) for direction in Direction}
            draft.pods.append(
                PodEntry(
                    uid=pod.uid,
                    namespace=pod.namespace,
                    name=pod.name,
                    addresses=addresses,
                    ingress=names[Direction.INGRESS],
                    egress=names[Direction.EGRESS],
                )
            )
            self._note(draft, pod)
        return RuleSet.of(
            name,
            peer_sets=draft.peer_sets.values(),
            port_sets=draft.port_sets.values(),
            block_sets=draft.block_sets.values(),
            classes=draft.classes.values(),
            pods=draft.pods,
            legend=draft.legend,
        )

    def _class_of(self, draft: "_Draft", node: str, pod: Pod, direction: Direction) -> str | None:
        selecting = tuple(
            policy
            for policy in self._policies.get(pod.namespace, ())
            if direction in policy.sides and policy.selects(pod.namespace, pod.labels)
        )
        if not selecting:
            return None
        key = (direction, tuple(policy.ref for policy in selecting))
        if key not in draft.names:
            draft.names[key] = self._compile(draft, node, direction, selecting)
        return draft.names[key]

    def _compile(
        self, draft: "_Draft", node: str, direction: Direction, policies: tuple[NetworkPolicy, ...]
    ) -> str:
        rules: dict[tuple[str | None, PortSpan | str | None], ClassRule] = {}
        for policy in policies:
            for index, rule in enumerate(policy.sides[direction].rules):
                origin = RuleRef(policy.namespace, policy.name, index)
                for peer, ports in self._terms(draft, node, direction, policy, rule):
                    # The first rule that admits something is its origin; a repeat would admit nothing more.
                    rules.setdefault((peer, ports), ClassRule(peer, ports, origin))
        compiled = PolicyClass(direction, tuple(policy.ref for policy in policies), tuple(rules.values()))
        draft.classes[compiled.name] = compiled
        return compiled.name

    def _terms(
        self, draft: "_Draft", node: str, direction: Direction, policy: NetworkPolicy, rule: PolicyRule
    ) -> Iterator[tuple[str | None, PortSpan | str | None]]:
        # API: "If this field is empty or missing, this rule matches all sources" (destinations, ports).
        peers: tuple[Peer | None, ...] = rule.peers or (None,)
        ports: tuple[PortMatch | None, ...] = rule.ports or (None,)
        for peer in peers:
            for port in ports:
                name = port.port if port is not None else None
                if port is not None and isinstance(name, str):
                    yield from self._named(draft, node, direction, policy, peer, port, name)
                    continue
                yield from ((term, _span(port)) for term in self._peer(draft, policy, peer))

    def _named(
        self,
        draft: "_Draft",
        node: str,
        direction: Direction,
        policy: NetworkPolicy,
        peer: Peer | None,
        port: PortMatch,
        name: str,
    ) -> Iterator[tuple[str | None, PortSpan | str | None]]:
        if direction is Direction.INGRESS:
            named, pods = self._selection.subject_ports(policy, node, name, port.protocol)
            terms = tuple(self._peer(draft, policy, peer))
        elif isinstance(peer, IpBlock):
            # A block's addresses have no containers, so nothing there gives the name a number.
            return
        else:
            named, pods = self._selection.peer_ports(policy.namespace, peer, name, port.protocol)
            terms = (None,)
        draft.port_sets[named.name] = named
        self._note(draft, *pods)
        yield from ((term, named.name) for term in terms)

    def _peer(self, draft: "_Draft", policy: NetworkPolicy, peer: Peer | None) -> Iterator[str | None]:
        if peer is None:
            yield None
        elif isinstance(peer, IpBlock):
            ranges = peer.ranges()
            if ranges:
                block = BlockSet(peer.family, ranges)
                draft.block_sets[block.name] = block
                yield block.name
        else:
            peer_set, members = self._selection.peers(policy.namespace, peer)
            draft.peer_sets[peer_set.name] = peer_set
            self._note(draft, *members)
            yield peer_set.name

    def _note(self, draft: "_Draft", *pods: Pod) -> None:
        for pod in pods:
            workload = pod.workload
            entry = LegendEntry(
                namespace=pod.namespace,
                pod=pod.name,
                uid=pod.uid,
                workload_kind=workload.kind if workload else "",
                workload_name=workload.name if workload else "",
            )
            for address in self._cluster.addresses_of(pod):
                draft.legend[address] = entry


def _span(port: PortMatch | None) -> PortSpan | None:
    if port is None:
        return None
    if port.interval is None:
        # API: "If this field is not provided, this matches all port names and numbers" of the protocol.
        return PortSpan(port.protocol)
    return PortSpan(port.protocol, *port.interval)


@dataclass(slots=True)
class _Draft:
    """What has been found for one node so far; lives for one call of Compiler.node."""

    peer_sets: dict[str, PeerSet] = field(default_factory=dict)
    port_sets: dict[str, PortSet] = field(default_factory=dict)
    block_sets: dict[str, BlockSet] = field(default_factory=dict)
    classes: dict[str, PolicyClass] = field(default_factory=dict)
    names: dict[tuple[Direction, tuple[ObjectRef, ...]], str] = field(default_factory=dict)
    pods: list[PodEntry] = field(default_factory=list)
    legend: dict[Address, LegendEntry] = field(default_factory=dict)


def compile_nodes(cluster: Cluster) -> Mapping[str, RuleSet]:
    """The rule set of every node that the cluster names, by name."""
    compiler = Compiler(cluster)
    names = set(cluster.nodes) | {pod.node for pod in cluster.pods if pod.node is not None}
    return {name: compiler.node(name) for name in sorted(names)}
