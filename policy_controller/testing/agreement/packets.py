"""The verdict of real packets: one laboratory in which cluster after cluster is enforced and probed.

Knows the laboratory, the probe and the kernel's nft. Knows nothing of who judged the traffic otherwise. The laboratory
has a namespace for every address that clusters use; a cluster says which of them are pods and what holds for them.
"""

import asyncio
import enum
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Verdict
from compilers.evaluate.traffic import ICMP, Traffic
from compilers.model.cluster import Cluster
from compilers.model.words import Address, Direction, Protocol
from compilers.nftables.base import Base
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.transaction import install
from compilers.ruleset.rule_set import RuleSet
from policy_controller.testing.agreement.kernels import Kernels
from policy_controller.testing.agreement.places import Place
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Node, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, ProbeResult, Transport

TRANSPORT: Final = {Protocol.TCP: Transport.TCP, Protocol.UDP: Transport.UDP, Protocol.SCTP: Transport.SCTP}
VERDICT: Final[Mapping[Outcome, Verdict]] = {
    Outcome.ACCEPTED: Verdict.ALLOWED,
    Outcome.REFUSED: Verdict.ALLOWED,
    Outcome.TIMED_OUT: Verdict.DENIED,
}
"""What each outcome says of the gates; a refusal comes from the far end, so the packet got there."""


class Connections(enum.Enum):
    """What becomes of the kernels' memory of connections when another state is enforced.

    A test of verdicts wants it empty, since only first packets are judged; one of open connections wants it kept.
    """

    FORGET = "forget"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection and what packets said of it; None when the outcome says nothing of the gates."""

    traffic: Traffic
    verdict: Verdict | None
    result: ProbeResult


class Stage:
    """A laboratory of nodes whose kernels are told rule sets directly; an async context manager.

    Nodes get their addresses by their position in `nodes`. Every place, and every node, answers on `ports` by TCP, UDP
    and SCTP with its name as identity (a node's is `node/NAME`).
    """

    def __init__(
        self,
        base: Base,
        nodes: Sequence[str],
        places: Iterable[Place],
        ports: Iterable[int],
        network: NetworkKind = NetworkKind.BRIDGE,
    ) -> None:
        self._network = network
        self._base = base
        self._node_names = tuple(nodes)
        self._places = tuple(places)
        self._ports = tuple(sorted(ports))
        self._stack = AsyncExitStack()
        self._held: dict[str, Tables] = {}
        self._namespaces: dict[Address, str] = {}
        self._pods: dict[Address, Pod] = {}

    async def __aenter__(self) -> Self:
        self.kernels = self._stack.enter_context(Kernels())
        self.laboratory = self._stack.enter_context(Laboratory(network=self._network))
        self.prober = await self._stack.enter_async_context(Prober())
        for name in self._node_names:
            self._add_node(self.laboratory.add_node(name))
        for place in self._places:
            self._add_place(place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def addresses(self) -> frozenset[Address]:
        """Every address that someone answers to here."""
        return frozenset(self._namespaces)

    @property
    def network(self) -> NetworkKind:
        """The kind of its pod network."""
        return self._network

    def node(self, name: str) -> Node:
        """A node by name. Raises KeyError."""
        return self.laboratory.nodes[name]

    def pod_at(self, address: Address) -> Pod:
        """The pod namespace that has an address, whatever clusters say of it. Raises KeyError."""
        return self._pods[address]

    def endpoint(self, address: Address) -> Endpoint:
        """Where a probe from this address starts. Raises KeyError."""
        return Endpoint(self._namespaces[address], address)

    def can_carry(self, traffic: Traffic) -> bool:
        """Whether both ends are here and the protocol is one that a probe can speak."""
        ends = {traffic.source.address, traffic.destination.address}
        spoken = traffic.protocol in TRANSPORT or traffic.protocol in ICMP.values()
        return ends <= self.addresses and spoken and traffic.port != 0

    def tables(
        self, cluster: Cluster, closed_unknown: frozenset[Direction] = frozenset()
    ) -> Mapping[str, Tables]:
        """What every node's kernel should hold for the cluster."""
        rule_sets = compile_nodes(cluster)
        return {
            name: render(rule_sets.get(name, RuleSet.of(name)), self._base, closed_unknown)
            for name in self._node_names
        }

    async def enforce(self, cluster: Cluster, connections: Connections = Connections.FORGET) -> None:
        """Have every node's kernel hold what is compiled from the cluster."""
        await self.hold(self.tables(cluster), connections)

    async def hold(self, tables: Mapping[str, Tables], connections: Connections = Connections.FORGET) -> None:
        """Have kernels hold these tables, by plans from what they hold now."""
        for name, desired in tables.items():
            await asyncio.to_thread(self._apply, self.node(name), desired)
        if connections is Connections.FORGET:
            await self.forget_connections()

    async def held(self, node: str) -> Tables:
        """What a node's kernel says it holds."""
        names = [table.identity for table in render_empty(self._base).each()]
        inet, bridge = await asyncio.to_thread(self.kernels.held, self.node(node).namespace, names)
        if inet is None or bridge is None:
            raise LookupError(f"node {node} has lost a table")
        return Tables(inet, bridge)

    async def forget_connections(self) -> None:
        """Empty the connection table of every node."""
        for node in self.laboratory.nodes.values():
            await asyncio.to_thread(self.kernels.forget_connections, node.namespace)

    async def ask(self, traffics: Iterable[Traffic]) -> list[Seen]:
        """Send each connection's first packets and say what became of them."""
        asked = list(traffics)
        results = await self.prober.run([self._probe(traffic) for traffic in asked])
        return [
            Seen(traffic, VERDICT.get(result.outcome), result)
            for traffic, result in zip(asked, results, strict=True)
        ]

    def _add_node(self, node: Node) -> None:
        self._namespaces.update(dict.fromkeys(node.addresses, node.namespace))
        self._held[node.name] = render_empty(self._base)
        self.kernels.run(node.namespace, [install(table) for table in self._held[node.name].each()])
        self._listen(node.namespace, f"node/{node.name}")

    def _add_place(self, place: Place) -> None:
        if place.node is None:
            namespace = self.laboratory.add_outside(place.name, place.addresses).namespace
        else:
            pod = self.laboratory.add_pod(self.node(place.node), place.name, place.addresses)
            namespace = pod.namespace
            self._pods.update(dict.fromkeys(place.addresses, pod))
        self._namespaces.update(dict.fromkeys(place.addresses, namespace))
        self._listen(namespace, place.name)

    def _listen(self, namespace: str, identity: str) -> None:
        self.prober.listen(Listener(namespace, identity, self._ports, self._ports, self._ports))

    def _apply(self, node: Node, desired: Tables) -> None:
        phases = plan(self._held[node.name], desired).each()
        self.kernels.run(node.namespace, [transaction for _, transaction in phases])
        self._held[node.name] = desired

    def _probe(self, traffic: Traffic) -> Probe:
        transport = TRANSPORT[traffic.protocol] if isinstance(traffic.protocol, Protocol) else Transport.ICMP
        return Probe(
            self.endpoint(traffic.source.address), traffic.destination.address, transport, traffic.port
        )
