"""The kubelets of a laboratory's nodes, with the controllers and the kube-proxy that feed them.

Knows who does what when something in the API changes. What one pod's life is like is pods.py's; which pods there should be
is controllers.py's.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from policy_controller.testing.api_server.kinds.service import RANGES
from policy_controller.testing.kube_proxy import KubeProxy, Mode, ProxiedNode, ServicePort
from policy_controller.testing.kubelet import controllers
from policy_controller.testing.kubelet.client import CONFLICT, Client, Picture, RefusedError
from policy_controller.testing.kubelet.controllers import Creation, is_ending, is_of
from policy_controller.testing.kubelet.images import OWN, Image, repository
from policy_controller.testing.kubelet.places import Places
from policy_controller.testing.kubelet.pods import PodLife
from policy_controller.testing.kubelet.relay import CLUSTER_IP, CLUSTER_PORT, Relay
from policy_controller.testing.kubelet.services import service_ports
from policy_controller.testing.kubelet.spec import SpecError
from policy_controller.testing.laboratory import Laboratory, Node
from policy_controller.testing.laboratory.inhabitants import UPLINK
from policy_controller.testing.laboratory.links import links_of

Json = dict[str, Any]
log = logging.getLogger(__name__)

WORKLOADS: Final = ("DaemonSet", "Deployment")
KINDS: Final = (*WORKLOADS, "ConfigMap", "Node", "Pod", "Secret", "Service", "ServiceAccount")
AGAIN_SECONDS: Final = 0.3
"""After the API server refused, or did not answer."""
SERVICE_NETWORKS: Final = tuple(RANGES.values())
"""Where the API server takes ClusterIPs from."""
SETTLE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
CLOSING_SECONDS: Final = 5.0
"""The longest grace of a pod when the whole laboratory ends."""
LAST_LINES: Final = 12


class KubeletError(Exception):
    """What should have come about did not; the text says what, and shows what the containers said."""


class Kubelet:
    """Runs what the API server says on the nodes of a laboratory; an async context manager.

    Pods reach the API server as in a cluster: at a ClusterIP (10.96.0.1, which its certificate must name) that leads to a
    host beyond the nodes. Pods whose images are not among `images` (by repository) are somebody else's. The kubeconfig must
    allow everything. `directory` holds volumes and logs.
    """

    def __init__(
        self, laboratory: Laboratory, kubeconfig: Path, directory: Path, images: Mapping[str, Image] = OWN
    ) -> None:
        self._laboratory = laboratory
        self._directory = directory
        self._client = Client(kubeconfig)
        self._wake = asyncio.Event()
        self._picture = Picture(self._client, KINDS, self._wake.set)
        api = (CLUSTER_IP, CLUSTER_PORT)
        self._places = Places(laboratory, self._client, self._picture, images, directory, api)
        self._lives: dict[str, PodLife] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._proxies: dict[str, tuple[KubeProxy, tuple[ServicePort, ...] | None]] = {}
        self._stack = contextlib.AsyncExitStack()
        self._relay: Relay | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.complaints: dict[str, str] = {}
        """What of the API is not played, by the object's name."""

    async def __aenter__(self) -> Self:
        place = urlsplit(self._client.access.url)
        await self._stack.enter_async_context(self._client)
        relay = Relay(self._laboratory, place.hostname or "", place.port or 443)
        self._relay = await self._stack.enter_async_context(relay)
        self._tasks = [
            asyncio.create_task(self._picture.follow(), name="picture"),
            asyncio.create_task(self._work(), name="kubelet"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(life.end(CLOSING_SECONDS) for life in self._lives.values()), *self._ending)
        await self._stack.aclose()

    async def add_node(self, name: str) -> None:
        """Register a node that the laboratory has, and look after its pods and Services from now on."""
        node = self._laboratory.nodes[name]
        document = {"apiVersion": "v1", "kind": "Node", **_node(node)}
        try:
            await self._client.create(document)
        except RefusedError as refusal:
            if refusal.status != CONFLICT:
                raise
            await self._client.patch(
                "Node", "", name, {"metadata": document["metadata"], "spec": document["spec"]}
            )
        await self._client.patch("Node", "", name, {"status": _node_status(node)}, "/status")
        await asyncio.to_thread(_route_to_services, node)
        proxied = ProxiedNode(name, node.addresses, node.pod_networks, SERVICE_NETWORKS)
        self._proxies[name] = (KubeProxy(Mode.NFTABLES, node.namespace, proxied), None)
        self._wake.set()

    def disk_of(self, node: str) -> Path:
        """What a node has as its file system."""
        return self._places.disk_of(node)

    def pods_of(self, workload: str) -> tuple[PodLife, ...]:
        """The pods that run here for a Deployment or DaemonSet, by node and name."""
        owners = {
            life.uid: [owner["name"] for owner in life.tree["metadata"].get("ownerReferences") or ()]
            for life in self._lives.values()
        }
        chosen = [life for life in self._lives.values() if workload in owners[life.uid]]
        return tuple(sorted(chosen, key=lambda life: (life.tree["spec"]["nodeName"], life.name)))

    def service_ports(self) -> tuple[ServicePort, ...]:
        """The Services as kube-proxy is told of them, with the pods that are ready now."""
        return service_ports(self._picture.all("Service"), self._picture.all("Pod"))

    def cut_connections(self) -> None:
        """End every connection that pods have to the API server; new ones are served."""
        if self._relay is not None:
            self._relay.cut()

    def renew_tokens(self) -> None:
        """Replace every token soon, whatever its age."""
        for life in self._lives.values():
            life.renew_tokens()

    async def heard(self, tree: Json, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until this object, as an answer of the API server showed it, is known here. Raises KubeletError."""
        metadata = tree["metadata"]

        def known() -> bool:
            found = self._picture.get(tree["kind"], metadata.get("namespace", ""), metadata["name"])
            version = 0 if found is None else int(found["metadata"]["resourceVersion"])
            return version >= int(metadata["resourceVersion"])

        await self.until(known, seconds, lambda: f"{tree['kind']} {metadata['name']} has not been heard of")

    async def settled(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every workload that the API server has now has the pods that it wants, all ready. Raises KubeletError."""
        await self._caught_up(seconds)
        await self.until(lambda: not self.unsettled(), seconds, lambda: "; ".join(self.unsettled()))

    async def _caught_up(self, seconds: float) -> None:
        """Wait until the picture shows the workloads as the API server has them now."""
        stored = [tree for kind in WORKLOADS for tree in (await self._client.listed(kind))[0]]

        def shown() -> bool:
            known = {(one["metadata"]["uid"], one["metadata"].get("generation")) for one in self._workloads()}
            return all((one["metadata"]["uid"], one["metadata"].get("generation")) in known for one in stored)

        await self.until(shown, seconds, lambda: "workloads have not been heard of")

    def unsettled(self) -> list[str]:
        """One sentence for each workload that is not as it should be."""
        found = [f"{name}: {reason}" for name, reason in sorted(self.complaints.items())]
        if not self._picture.whole:
            found.append("the API server has not answered yet")
        elif any(held != self.service_ports() for _, held in self._proxies.values()):
            found.append("the rules of kube-proxy are not written yet")
        for workload in self._workloads():
            name = f"{workload['kind']} {workload['metadata']['name']}"
            status = controllers.status_of(workload, self._nodes(), self._picture.all("Pod"))
            wanted = status.get("desiredNumberScheduled", workload["spec"].get("replicas"))
            now = status.get("numberReady", status.get("readyReplicas"))
            new = status.get("updatedNumberScheduled", status.get("updatedReplicas"))
            there = status.get("currentNumberScheduled", status.get("replicas"))
            if not wanted == now == new == there:
                found.append(f"{name}: of {wanted} pods {there} are there, {new} of them new, {now} ready")
        return found

    async def until(self, done: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        """Wait until something holds; KubeletError, with the last words of containers, when it does not in time."""
        deadline = time.monotonic() + seconds
        while not done():
            self._check()
            if time.monotonic() > deadline:
                raise KubeletError(f"after {seconds:.0f} s: {what()}\n{self._last_words()}")
            await asyncio.sleep(POLL_SECONDS)

    def _check(self) -> None:
        """Raise what ended a task that must not end."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                raise KubeletError(f"the task {task.get_name()} has ended") from task.exception()
        for life in self._lives.values():
            if life.failure is not None:
                raise KubeletError(f"the life of {life.title} has ended") from life.failure

    def _last_words(self) -> str:
        lines = []
        for path in sorted(self._directory.glob("*.log")):
            lines += [
                f"{path.stem}: {line}"
                for line in path.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
            ]
        return "\n".join(lines)

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._picture.whole:
                continue
            try:
                await self._control()
                self._run_pods()
                await self._proxy()
            except (RefusedError, aiohttp.ClientError, OSError) as error:
                log.warning("the API server did not do as asked: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
                self._wake.set()

    async def _control(self) -> None:
        """The controllers' next steps."""
        for workload in list(self._workloads()):
            metadata = workload["metadata"]
            name = f"{workload['kind']} {metadata['namespace']}/{metadata['name']}"
            try:
                steps = controllers.steps(workload, self._nodes(), self._picture.all("Pod"))
            except SpecError as fault:
                self.complaints[name] = str(fault)
                continue
            self.complaints.pop(name, None)
            for step in steps:
                if isinstance(step, Creation):
                    self._picture.note({"kind": "Pod", **await self._client.create(step.pod)})
                else:
                    await self._client.delete("Pod", step.namespace, step.name)
            status = controllers.status_of(workload, self._nodes(), self._picture.all("Pod"))
            known = workload.get("status") or {}
            if any(known.get(field, 0) != value for field, value in status.items()):
                told = await self._client.patch(
                    workload["kind"], metadata["namespace"], metadata["name"], {"status": status}, "/status"
                )
                self._picture.note({**told, "kind": workload["kind"]})
        await self._collect()

    async def _collect(self) -> None:
        """Pods whose workload is gone go, too."""
        workloads = list(self._workloads())
        for pod in list(self._picture.all("Pod")):
            owners = pod["metadata"].get("ownerReferences") or []
            owned = any(owner.get("kind") in WORKLOADS for owner in owners)
            if owned and not is_ending(pod) and not any(is_of(pod, workload) for workload in workloads):
                await self._client.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _run_pods(self) -> None:
        """Begin the lives of new pods, end those of others, and have all look."""
        there = {str(pod["metadata"]["uid"]): pod for pod in self._picture.all("Pod") if self._is_ours(pod)}
        for uid, pod in there.items():
            if uid not in self._lives and not is_ending(pod):
                self._lives[uid] = PodLife(self._places, pod)
                self._lives[uid].start()
            elif uid in self._lives and not is_ending(pod):
                self._lives[uid].look(pod)
            elif uid in self._lives:
                self._lives[uid].tree = pod
                self._end(uid)
        for uid in list(self._lives):
            if uid not in there:
                self._end(uid)

    def _end(self, uid: str) -> None:
        task = asyncio.create_task(self._see_off(self._lives.pop(uid)), name="end")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _see_off(self, life: PodLife) -> None:
        await life.end()
        there = self._picture.get("Pod", life.namespace, life.name)
        if there is None or there["metadata"]["uid"] != life.uid:
            return
        with contextlib.suppress(RefusedError, aiohttp.ClientError, OSError):
            # A kubelet's word that nothing of the pod runs any more.
            await self._client.delete("Pod", life.namespace, life.name, "?gracePeriodSeconds=0")

    async def _proxy(self) -> None:
        """kube-proxy's rules on every node, where they have changed."""
        wanted = self.service_ports()
        for name, (proxy, held) in list(self._proxies.items()):
            if held != wanted:
                await asyncio.to_thread(proxy.sync, wanted)
                self._proxies[name] = (proxy, wanted)

    def _is_ours(self, pod: Json) -> bool:
        images = [repository(container.get("image", "")) for container in pod["spec"].get("containers") or ()]
        return pod["spec"].get("nodeName") in self._proxies and all(
            image in self._places.images for image in images
        )

    def _workloads(self) -> Iterator[Json]:
        for kind in WORKLOADS:
            yield from self._picture.all(kind)

    def _nodes(self) -> list[Json]:
        return [node for node in self._picture.all("Node") if node["metadata"]["name"] in self._proxies]


def _route_to_services(node: Node) -> None:
    """A packet for a ClusterIP must have a way before kube-proxy gives it another: a real node has a default route."""
    with links_of(node.namespace) as links:
        for network in SERVICE_NETWORKS:
            links.add_route(network, UPLINK)


def _node(node: Node) -> Json:
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    networks = [str(network) for network in node.pod_networks]
    return {
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": networks[0], "podCIDRs": networks},
    }


def _node_status(node: Node) -> Json:
    addresses = [{"type": "InternalIP", "address": str(address)} for address in node.addresses]
    return {
        "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    }
