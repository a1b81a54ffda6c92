"""Scheduler, kubelet and pod network of an installation: pods become namespaces with addresses and listeners.

Knows the API's objects and the laboratory. Knows nothing of policies.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from compilers.model.cluster import Cluster, Node, Pod, PodNetwork
from compilers.model.words import Address, Protocol
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.trees import PodKey, Service, key_of
from policy_controller.testing.laboratory import Laboratory
from policy_controller.testing.laboratory.addresses import OUTSIDE4, OUTSIDE6
from policy_controller.testing.probe import Listener, Listening, Prober

Json = dict[str, Any]

OUTSIDE: Final = "outside"
OUTSIDE_PORT: Final = 443
OUTSIDE_ADDRESSES: Final[tuple[Address, ...]] = (OUTSIDE4[9], OUTSIDE4[200], OUTSIDE6[9])


@dataclass(frozen=True, slots=True)
class Settled:
    """A pod that runs: where its packets start."""

    namespace: str
    listening: Listening


class Population:
    """Brings nodes and pods to life in the laboratory and says so to the API server."""

    def __init__(
        self, api: Api, laboratory: Laboratory, prober: Prober, ports: Mapping[PodKey, frozenset[Service]]
    ) -> None:
        self._api = api
        self._ports = dict(ports)
        self._laboratory = laboratory
        self._prober = prober
        self._pods: dict[PodKey, Settled] = {}
        self.namespaces: dict[Address, str] = {}
        """The network namespace behind each address."""
        self.far: dict[Address, str] = {}
        """Each address with which a node comes to pods of other nodes, and that node."""

    async def add_outside(self) -> None:
        """A host beyond the nodes that answers on TCP 443."""
        host = await asyncio.to_thread(self._laboratory.add_outside, OUTSIDE, OUTSIDE_ADDRESSES)
        self.namespaces.update(dict.fromkeys(host.addresses, host.namespace))
        self._prober.listen(Listener(host.namespace, OUTSIDE, tcp=(OUTSIDE_PORT,)))

    def add_node(self, node: Node) -> None:
        """A node that the laboratory has: where its packets start."""
        built = self._laboratory.nodes[node.name]
        far = self._laboratory.far_addresses(built)
        self.namespaces.update(dict.fromkeys((*built.addresses, *far), built.namespace))
        self.far.update(dict.fromkeys(far, node.name))

    async def add_pods(self, objects: Iterable[Json], cluster: Cluster) -> None:
        """Create the pods of the cluster: first all are bound to their nodes, then each gets its network."""
        trees = {key_of(tree): tree for tree in objects if tree.get("kind") == "Pod"}
        placed = {(pod.namespace, pod.name): pod for pod in cluster.pods}
        for key, tree in trees.items():
            pod = placed.get(key)
            spec = dict(tree.get("spec") or {}) | ({"nodeName": pod.node} if pod is not None else {})
            await self._api.create({**tree, "spec": spec})
        for pod in cluster.pods:
            await self.start_network(pod)
            await self.report_running(pod)

    async def remove_pod(self, pod: Pod) -> None:
        """Take a pod's network away; its object is the caller's to delete."""
        settled = self._pods.pop((pod.namespace, pod.name))
        settled.listening.close()
        await asyncio.to_thread(self._laboratory.remove_pod, self._laboratory.pods[_name(pod)])
        for address in pod.addresses:
            self.namespaces.pop(address, None)

    async def start_network(self, pod: Pod) -> None:
        """Give a pod its namespace, addresses and listeners, before the API server hears of them."""
        node = self._laboratory.nodes[pod.node or ""]
        if pod.network is PodNetwork.HOST:
            namespace = node.namespace
        else:
            built = await asyncio.to_thread(self._laboratory.add_pod, node, _name(pod), pod.addresses)
            namespace = built.namespace
        self.namespaces.update(dict.fromkeys(pod.addresses, namespace))
        services = self._ports.get((pod.namespace, pod.name), frozenset())
        listening = self._prober.listen(_listener(pod, namespace, services))
        self._pods[pod.namespace, pod.name] = Settled(namespace, listening)

    async def report_running(self, pod: Pod) -> None:
        """Write the status that a kubelet writes once a pod runs."""
        addresses = [{"ip": str(address)} for address in pod.addresses]
        status = {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses}
        await self._api.patch("Pod", pod.namespace, pod.name, {"status": status}, "/status")

    def shells(self) -> Mapping[str, str]:
        """For each pod, the network namespace that `ip netns exec` enters."""
        return {
            f"{namespace}/{name}": settled.namespace
            for (namespace, name), settled in sorted(self._pods.items())
        }


def _name(pod: Pod) -> str:
    return f"{pod.namespace}.{pod.name}"


def _listener(pod: Pod, namespace: str, services: frozenset[Service]) -> Listener:
    ports = {
        protocol: tuple(sorted(number for spoken, number in services if spoken is protocol))
        for protocol in Protocol
    }
    return Listener(
        namespace,
        f"{pod.namespace}/{pod.name}",
        ports[Protocol.TCP],
        ports[Protocol.UDP],
        ports[Protocol.SCTP],
        pod.addresses if pod.network is PodNetwork.HOST else (),
    )
