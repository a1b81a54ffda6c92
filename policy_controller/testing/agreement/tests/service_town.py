"""The stage with a kube-proxy on every node, and what a connection to a Service is at the gates of the nodes it passes.

Knows which node rewrites a connection, and with which source it arrives where its backend lives. Verdicts are the evaluator's, on
the rewritten connection; kube-proxy's own refusals are for the tests that are about them.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.tests.stage import OUTSIDE
from compilers.evaluate.traffic import Traffic, traffic_between
from compilers.model.cluster import Cluster, Pod
from compilers.model.words import Address, Protocol
from policy_controller.testing.agreement.packets import TRANSPORT, Stage
from policy_controller.testing.agreement.tests.scene import command
from policy_controller.testing.kube_proxy import (
    Endpoint,
    KubeProxy,
    Mode,
    ProxiedNode,
    ServicePort,
    TrafficPolicy,
    UnfitKernelError,
)
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import Endpoint as Start
from policy_controller.testing.probe import Outcome, Probe, ProbeResult

SERVICE_NETWORKS: Final = (ip_network("10.96.0.0/16"), ip_network("fd96::/64"))
EXTERNAL_IPS: Final = (ip_address("198.51.100.7"), ip_address("2001:db8:f00d::7"))
"""A load balancer's addresses. The outside host reaches them, and those of Services, through node-a."""
NODE_A, NODE_B = "node-a", "node-b"
HOST_PORT: Final = 9100
"""Where a process of a node (or a hostNetwork pod) answers."""

Client = Pod | str
"""A pod, a node's name (a process of the node, or a hostNetwork pod), or `outside`."""


def _on(short: Callable[[NetworkKind, Mode], bool]) -> pytest.MarkDecorator:
    """Every mode on every network; what `short` does not want is for the whole extent only."""
    return pytest.mark.parametrize(
        ("network", "mode"),
        [
            pytest.param(
                network,
                mode,
                id=f"{network.value}-{mode.value}",
                marks=() if short(network, mode) else pytest.mark.whole,
            )
            for network in NetworkKind
            for mode in Mode
        ],
        indirect=True,
        scope="module",
    )


ON_EVERY_NETWORK: Final = _on(lambda network, mode: mode is Mode.NFTABLES or network is NetworkKind.BRIDGE)
ON_EVERY_POD_NETWORK: Final = _on(lambda _, mode: mode is Mode.NFTABLES)
"""For what does not depend on how kube-proxy writes its rules: in the short extent one mode on every network."""
ON_A_BRIDGE: Final = _on(lambda network, _: network is NetworkKind.BRIDGE)
"""For what kube-proxy does before a packet takes its way: in the short extent all modes on one network."""


class Door(enum.Enum):
    """By which of its addresses a Service is called."""

    CLUSTER_IP = "ClusterIP"
    NODE_A = "node port of node-a"
    NODE_B = "node port of node-b"
    EXTERNAL_IP = "external IP"


DOOR_OF_NODE: Final = {NODE_A: Door.NODE_A, NODE_B: Door.NODE_B}
NODE_OF_DOOR: Final = {door: name for name, door in DOOR_OF_NODE.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """One connection to a Service: who calls which address, and the endpoint that is to answer."""

    client: Client
    door: Door
    service: ServicePort
    source: Address
    called: Address
    port: int
    backend: Endpoint

    def __str__(self) -> str:
        who = self.client if isinstance(self.client, str) else f"{self.client.namespace}/{self.client.name}"
        return f"{who} ({self.source}) -> {self.door.value} of {self.service.title} ({self.called}), {self.service.protocol.value}"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A connection as the client's node judges it, and as the backend's node does."""

    leaves: Traffic
    arrives: Traffic


class Town:
    """A stage whose nodes have a kube-proxy each."""

    def __init__(self, stage: Stage, mode: Mode) -> None:
        self.stage = stage
        self.mode = mode
        self.proxies = [
            KubeProxy(
                mode,
                node.namespace,
                ProxiedNode(node.name, node.addresses, node.pod_networks, SERVICE_NETWORKS),
            )
            for node in stage.laboratory.nodes.values()
        ]

    def open(self) -> None:
        """Give nodes the routes that a default route stands for, and the outside host its way in; skip if the kernel lacks the mode."""
        try:
            self.serve()
        except UnfitKernelError as reason:
            pytest.skip(str(reason))
        beyond = self.stage.endpoint(ip_address(OUTSIDE[0])).namespace
        first = self.stage.node(NODE_A).addresses
        for network in (*SERVICE_NETWORKS, *map(ip_network, EXTERNAL_IPS)):
            for node in self.stage.laboratory.nodes.values():
                command(node.namespace, "ip", "route", "replace", str(network), "dev", "eth0")
            gateway = next(address for address in first if address.version == network.version)
            command(beyond, "ip", "route", "replace", str(network), "via", str(gateway))

    def serve(self, *services: ServicePort) -> None:
        """Have every node's kube-proxy serve these Services and no others."""
        for proxy in self.proxies:
            proxy.sync(services)

    def close(self) -> None:
        """Remove all rules of kube-proxy."""
        for proxy in self.proxies:
            proxy.remove()

    def calls(self, client: Client, service: ServicePort, door: Door) -> Iterator[Call]:
        """The calls in each family that both ends have, to each endpoint of the family."""
        for source in self._addresses(client):
            called = self._called(service, door, source.version)
            if called is None:
                continue
            for backend in service.endpoints:
                if backend.address.version == source.version:
                    yield Call(client, door, service, source, *called, backend)

    def rewritten(self, state: Cluster, call: Call) -> Rewritten:
        """What the connection is at the gates. Routing decides it, and kube-proxy on the node that was called."""
        home, at = self.node_of(call.client), self._rewriter(call)
        target = (call.backend.address, call.backend.port)
        leaves = target if home == at else (call.called, call.port)
        source = call.source
        if at != call.backend.node and self._masquerades(call, home, at):
            far = self.stage.laboratory.far_addresses(self.stage.node(at))
            source = next(address for address in far if address.version == source.version)
        protocol = call.service.protocol
        return Rewritten(
            traffic_between(state, call.source, leaves[0], protocol, leaves[1]),
            traffic_between(state, source, target[0], protocol, target[1]),
        )

    def expected(self, state: Cluster, call: Call) -> Verdict:
        """The evaluator's verdict: the client's gate on what leaves, the backend's on what arrives.

        Denied too where kube-proxy has no endpoint for the call and drops it.
        """
        if self.is_dropped(call):
            return Verdict.DENIED
        rewritten = self.rewritten(state, call)
        passes = (
            judge(state, rewritten.leaves).egress.lets_pass
            and judge(state, rewritten.arrives).ingress.lets_pass
        )
        return Verdict.ALLOWED if passes else Verdict.DENIED

    def is_dropped(self, call: Call) -> bool:
        """Whether kube-proxy drops the call: its policy is Local, and the endpoint is on another node than the rewriting one."""
        home, at = self.node_of(call.client), self._rewriter(call)
        if call.door is Door.CLUSTER_IP:
            policy = call.service.internal
        else:
            # To kube-proxy, what comes from its own node does not come from outside.
            policy = TrafficPolicy.CLUSTER if home == at else call.service.external
        return policy is TrafficPolicy.LOCAL and call.backend.node != at

    def probe(self, call: Call) -> Probe:
        """The packets of a call; only its backend may answer."""
        namespace = self.stage.endpoint(call.source).namespace
        # A process of a node leaves the choice of its address to the kernel.
        start = Start(
            namespace, None if isinstance(call.client, str) and call.client in DOOR_OF_NODE else call.source
        )
        return Probe(
            start,
            call.called,
            TRANSPORT[call.service.protocol],
            call.port,
            peer=self.identity(call.backend),
        )

    def identity(self, backend: Endpoint) -> str:
        """Who answers at an endpoint."""
        for node in self.stage.laboratory.nodes.values():
            if backend.address in node.addresses:
                return f"node/{node.name}"
        return self.stage.pod_at(backend.address).name

    async def ask(self, calls: Iterable[Call]) -> list[ProbeResult]:
        """What became of each call."""
        return await self.stage.prober.run([self.probe(call) for call in calls])

    async def disagreements(self, state: Cluster, calls: Sequence[Call]) -> list[str]:
        """One line for each call where packets and evaluator differ; kube-proxy and enforced state are as they are."""
        return [
            f"{call}: {result.outcome.value}, not {self.expected(state, call).value}: {result.reason} {result.peer}"
            for call, result in zip(calls, await self.ask(calls), strict=True)
            if result.outcome not in self.outcomes(state, call)
        ]

    def outcomes(self, state: Cluster, call: Call) -> frozenset[Outcome]:
        """What a client may see: the backend's answer, or nothing."""
        if self.is_dropped(call):
            # On the client's own node its system call may fail, since that is where kube-proxy drops.
            return frozenset({Outcome.TIMED_OUT, Outcome.UNREACHABLE})
        return frozenset(
            {Outcome.ACCEPTED if self.expected(state, call) is Verdict.ALLOWED else Outcome.TIMED_OUT}
        )

    def node_of(self, client: Client) -> str | None:
        """The node that a client lives on; None outside."""
        if isinstance(client, Pod):
            return client.node
        return client if client in DOOR_OF_NODE else None

    def _rewriter(self, call: Call) -> str:
        """The node whose kube-proxy rewrites the connection."""
        return NODE_OF_DOOR.get(call.door) or self.node_of(call.client) or NODE_A

    def _masquerades(self, call: Call, home: str | None, at: str) -> bool:
        is_pod_here = isinstance(call.client, Pod) and home == at
        if call.door is Door.CLUSTER_IP:
            return not is_pod_here
        if call.service.external is TrafficPolicy.CLUSTER:
            return True
        return not isinstance(call.client, Pod) and home == at

    def _addresses(self, client: Client) -> tuple[Address, ...]:
        if isinstance(client, Pod):
            return client.addresses
        if client in DOOR_OF_NODE:
            return self.stage.node(client).addresses
        return tuple(ip_address(text) for text in OUTSIDE)

    def _called(self, service: ServicePort, door: Door, version: int) -> tuple[Address, int] | None:
        if door is Door.CLUSTER_IP:
            found, port = service.cluster_ips, service.port
        elif door is Door.EXTERNAL_IP:
            found, port = service.external_ips, service.port
        else:
            found, port = self.stage.node(NODE_OF_DOOR[door]).addresses, service.node_port or 0
        return next(((address, port) for address in found if address.version == version and port), None)


def service(
    number: int,
    backends: Iterable[Pod | str],
    protocol: Protocol = Protocol.TCP,
    port: int = 80,
    target: int = 8080,
    **fields: object,
) -> ServicePort:
    """Service `number` (1 to 65535) of namespace shop, with its own ClusterIPs; a node's name as backend is a hostNetwork pod."""
    endpoints = [one for backend in backends for one in _endpoints(backend, target)]
    return ServicePort(
        "shop",
        f"service-{number}",
        protocol,
        port,
        cluster_ips=tuple(network[number] for network in SERVICE_NETWORKS),
        endpoints=tuple(endpoints),
        **fields,  # type: ignore[arg-type] # field values are the caller's
    )


def _endpoints(backend: Pod | str, target: int) -> Iterator[Endpoint]:
    if isinstance(backend, Pod):
        yield from (Endpoint(address, target, backend.node) for address in backend.addresses)
    else:
        yield from (Endpoint(address, HOST_PORT, backend) for address in HOST_ADDRESSES[backend])


HOST_ADDRESSES: Final = {
    NODE_A: (ip_address("172.31.0.11"), ip_address("fd31::b")),
    NODE_B: (ip_address("172.31.0.12"), ip_address("fd31::c")),
}
