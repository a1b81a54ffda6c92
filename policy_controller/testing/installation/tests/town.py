"""A small installation that is probed without a pause while its processes come and go.

Two nodes, two pods on each, policies that keep their verdicts on the probed ports whatever else changes. Knows the evaluator,
which says what each pair should see. Knows nothing of how processes end.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import traffic_between
from compilers.model.cluster import Cluster
from compilers.model.settings import CONFIG_MAP
from compilers.model.words import Protocol
from policy_controller.testing.installation.installation import (
    Installation,
    stored_cluster,
)
from policy_controller.testing.installation.settings import NAMESPACE as INSTALLED
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Expected,
    Listener,
    Pair,
    Probe,
    Transport,
)

Json = dict[str, Any]

NAMESPACE: Final = "shop"
NODES: Final = ("node-a", "node-b")
PODS: Final = {"web": "node-a", "db": "node-a", "api": "node-b", "guest": "node-b"}
TCP_PORT, UDP_PORT, OTHER_PORT = 80, 53, 81
TRANSPORTS: Final = ((Transport.TCP, Protocol.TCP, TCP_PORT), (Transport.UDP, Protocol.UDP, UDP_PORT))
EXPECTED: Final = {Verdict.ALLOWED: Expected.ALLOWED, Verdict.DENIED: Expected.DENIED}


class Town:
    """An installation with its pods; an async context manager."""

    def __init__(self, network: NetworkKind, directory: Path) -> None:
        self.network = network
        self._directory = directory
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.laboratory = self._stack.enter_context(Laboratory(network=self.network))
        installation = Installation(self.laboratory, self._directory)
        self.installation = await self._stack.enter_async_context(installation)
        self.api = await self.installation.start()
        for name in NODES:
            await asyncio.to_thread(self.laboratory.add_node, name)
            await self.installation.add_node(name)
        await self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for policy in (CLOSED, INTO_DB, INTO_API, OUT_OF_GUEST):
            await self.api.create(policy)
        for name, node_name in PODS.items():
            await self.add_pod(name, node_name)
        await self.installation.settled()
        await self.in_force()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def in_force(self) -> None:
        """Return when every kernel holds what the API server's objects compile to."""
        await self.installation.in_force(await self.cluster(), seconds=60)

    async def cluster(self) -> Cluster:
        """The state that the API server holds."""
        return await stored_cluster(self.api)

    async def build_pod(self, name: str, node: str) -> Pod:
        """A pod with a network that the API has not been told of."""
        return await asyncio.to_thread(self.laboratory.add_pod, self.laboratory.nodes[node], name)

    async def add_pod(self, name: str, node: str) -> Pod:
        """A pod with network and status; its label `app` is its name."""
        built = await self.build_pod(name, node)
        await self.report(built, node)
        return built

    async def report(self, built: Pod, node: str) -> None:
        """Tell the API of a pod that runs on a node."""
        name = built.name
        metadata = {"namespace": NAMESPACE, "name": name, "labels": {"app": name}}
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]}
        await self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        addresses = [{"ip": str(address)} for address in built.addresses]
        status = {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses}
        await self.api.patch("Pod", NAMESPACE, name, {"status": status}, "/status")

    async def remove_pod(self, pod: Pod) -> None:
        """The pod leaves the API and the node."""
        await self.api.delete("Pod", NAMESPACE, pod.name)
        await asyncio.to_thread(self.laboratory.remove_pod, pod)

    async def admit(self, app: str) -> None:
        """Change whom db admits on a port that nobody probes: its class is another afterwards."""
        await self.api.patch("NetworkPolicy", NAMESPACE, "into-db", {"spec": _into_db(app)["spec"]})

    async def switch(self, enforcement: str) -> None:
        """Write into the ConfigMap of the cluster's settings whether policies are enforced."""
        metadata = {"namespace": INSTALLED, "name": CONFIG_MAP}
        data = {"enforcement": enforcement}
        await self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    async def pairs(self) -> tuple[Pair, ...]:
        """Every pair of the first pods in both families, by TCP or by UDP, with what the evaluator expects."""
        return tuple(pairs_of(await self.cluster(), self._first()))

    def listeners(self) -> tuple[Listener, ...]:
        """What they listen on."""
        return tuple(Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)) for pod in self._first())

    async def probing(self) -> ContinuousProbing:
        """All of these pairs, probed without a pause."""
        return ContinuousProbing(self.listeners(), await self.pairs())

    def _first(self) -> list[Pod]:
        return [self.laboratory.pods[name] for name in PODS]


def pairs_of(cluster: Cluster, pods: list[Pod]) -> Iterator[Pair]:
    """Of TCP and UDP one over IPv4 and the other over IPv6, turn and turn about: so each pair is asked often enough."""
    for number, (source, destination) in enumerate(permutations(pods, 2)):
        turned = TRANSPORTS if number % 2 else TRANSPORTS[::-1]
        for here, there, knock in zip(source.addresses, destination.addresses, turned, strict=True):
            transport, protocol, port = knock
            verdict = judge(cluster, traffic_between(cluster, here, there, protocol, port)).verdict
            probe = Probe(Endpoint(source.namespace, here), there, transport, port)
            yield Pair(probe, EXPECTED[verdict])


def _policy(name: str, spec: Json) -> Json:
    metadata = {"namespace": NAMESPACE, "name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _peer(app: str) -> Json:
    return {"podSelector": {"matchLabels": {"app": app}}}


def _into_db(other: str) -> Json:
    probed = [{"port": TCP_PORT}, {"port": UDP_PORT, "protocol": "UDP"}]
    rules = [
        {"from": [_peer("web"), _peer("api")], "ports": probed},
        {"from": [_peer(other)], "ports": [{"port": OTHER_PORT}]},
    ]
    return _policy("into-db", {**_peer("db"), "policyTypes": ["Ingress"], "ingress": rules})


CLOSED: Final = _policy("closed", {"podSelector": {}, "policyTypes": ["Ingress"]})
INTO_DB: Final = _into_db("nobody")
INTO_API: Final = _policy(
    "into-api", {**_peer("api"), "policyTypes": ["Ingress"], "ingress": [{"from": [_peer("web")]}]}
)
OUT_OF_GUEST: Final = _policy("out-of-guest", {**_peer("guest"), "policyTypes": ["Egress"], "egress": []})
