"""The verdict of real packets: one laboratory in which cluster after cluster is enforced and probed.

Knows the laboratory, the probe and the kernel's nft. Knows nothing of who judged the traffic otherwise. The laboratory
has a namespace for every address that clusters use; a cluster says which of them are pods and what holds for them.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Verdict
from compilers.evaluate.traffic import ICMP, Traffic
from compilers.model.cluster import Cluster
from compilers.model.words import Address, Protocol
from compilers.nftables.base import Base
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.transaction import install
from compilers.ruleset.rule_set import RuleSet
from policy_controller.testing.agreement.kernels import Kernels
from policy_controller.testing.laboratory import Laboratory, Node
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, ProbeResult, Transport

TRANSPORT: Final = {Protocol.TCP: Transport.TCP, Protocol.UDP: Transport.UDP, Protocol.SCTP: Transport.SCTP}
VERDICT: Final[Mapping[Outcome, Verdict]] = {
    Outcome.ACCEPTED: Verdict.ALLOWED,
    Outcome.REFUSED: Verdict.ALLOWED,
    Outcome.TIMED_OUT: Verdict.DENIED,
}
"""What each outcome says of the gates; a refusal comes from the far end, so the packet got there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection and what packets said of it; None when the outcome says nothing of the gates."""

    traffic: Traffic
    verdict: Verdict | None
    result: ProbeResult


class Stage:
    """A laboratory of nodes whose kernels are told rule sets directly; an async context manager.

    `homes` says, for each address, the name of the node it is on, or None for one outside the cluster. Every address
    answers on `ports` by TCP, UDP and SCTP.
    """

    def __init__(self, base: Base, homes: Mapping[Address, str | None], ports: Sequence[int]) -> None:
        self._base = base
        self._homes = homes
        self._ports = tuple(ports)
        self._stack = AsyncExitStack()
        self._found: dict[str, Tables] = {}
        self._namespaces: dict[Address, str] = {}

    async def __aenter__(self) -> Self:
        self.kernels = self._stack.enter_context(Kernels())
        self.laboratory = self._stack.enter_context(Laboratory())
        self.prober = await self._stack.enter_async_context(Prober())
        for name in sorted({home for home in self._homes.values() if home is not None}):
            self._add_node(self.laboratory.add_node(name))
        for name, addresses in _inhabitants(self._homes).items():
            self._add_inhabitant(name, addresses)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def addresses(self) -> frozenset[Address]:
        """Every address that someone answers to here."""
        return frozenset(self._namespaces)

    def can_carry(self, traffic: Traffic) -> bool:
        """Whether both ends are here and the protocol is one that a probe can speak."""
        ends = {traffic.source.address, traffic.destination.address}
        spoken = traffic.protocol in TRANSPORT or traffic.protocol in ICMP.values()
        return ends <= self.addresses and spoken and traffic.port != 0

    async def enforce(self, cluster: Cluster) -> None:
        """Have every node's kernel hold what is compiled from the cluster, by plans from what it holds now."""
        rule_sets = compile_nodes(cluster)
        for name, node in self.laboratory.nodes.items():
            desired = render(rule_sets.get(name, RuleSet.of(name)), self._base)
            await asyncio.to_thread(self._apply, node, desired)

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
        self._found[node.name] = render_empty(self._base)
        self.kernels.run(node.namespace, [install(table) for table in self._found[node.name].each()])
        self._listen(node.namespace, f"node/{node.name}")

    def _add_inhabitant(self, name: str, addresses: tuple[Address, ...]) -> None:
        home = self._homes[addresses[0]]
        if home is None:
            namespace = self.laboratory.add_outside(name, addresses).namespace
        else:
            namespace = self.laboratory.add_pod(self.laboratory.nodes[home], name, addresses).namespace
        self._namespaces.update(dict.fromkeys(addresses, namespace))
        self._listen(namespace, name)

    def _listen(self, namespace: str, identity: str) -> None:
        self.prober.listen(Listener(namespace, identity, self._ports, self._ports, self._ports))

    def _apply(self, node: Node, desired: Tables) -> None:
        phases = plan(self._found[node.name], desired).each()
        self.kernels.run(node.namespace, [transaction for _, transaction in phases])
        self.kernels.forget_connections(node.namespace)
        self._found[node.name] = desired

    def _probe(self, traffic: Traffic) -> Probe:
        source = traffic.source.address
        transport = TRANSPORT[traffic.protocol] if isinstance(traffic.protocol, Protocol) else Transport.ICMP
        return Probe(
            Endpoint(self._namespaces[source], source), traffic.destination.address, transport, traffic.port
        )


def _inhabitants(homes: Mapping[Address, str | None]) -> Mapping[str, tuple[Address, ...]]:
    """Namespaces to make: one for each host number of a node, with both its addresses; one for all outside."""
    inhabitants: dict[str, tuple[Address, ...]] = {}
    for address, home in homes.items():
        name = "outside" if home is None else f"{home}-{int(address) % 256}"
        inhabitants[name] = (*inhabitants.get(name, ()), address)
    return inhabitants
