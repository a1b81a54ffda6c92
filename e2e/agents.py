"""Pods that send and answer: created, waited for, and asked by a forwarded port.

Knows the probe image's words and `kubectl port-forward`. Knows nothing of what should reach what.
"""

import asyncio
import itertools
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

from compilers.model.port import NamedPort
from compilers.model.words import Address, Protocol
from e2e.cluster import Cluster, ClusterError, Deadline
from policy_controller.testing.probe.agent_line import AgentLine

Json = dict[str, Any]

CONTAINER: Final = "probe"
LABEL: Final = "policy-controller-e2e"
FIRST_CONTROL: Final = 17700
"""Orders come in by this port of the pod's loopback, and the next tells the kubelet of the node that it listens."""
HOST_CONTROLS: Final = itertools.count(FIRST_CONTROL + 100, 2)
"""Pods on their node's network share its loopback, so each has ports of its own."""
DELETE_SECONDS: Final = 90.0
_FORWARDING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@dataclass(frozen=True, slots=True)
class AgentPod:
    """A pod to be made. `named` are ports that the pod declares; it listens on `ports`, by protocol."""

    namespace: str
    name: str
    node: str
    labels: Mapping[str, str]
    ports: frozenset[tuple[Protocol, int]]
    named: Sequence[NamedPort] = ()
    host_network: bool = False

    @property
    def key(self) -> str:
        """As answers name it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Agent:
    """A pod that runs and can be asked."""

    pod: AgentPod
    addresses: tuple[Address, ...]
    line: AgentLine


class Agents:
    """Pods of one test, with their namespaces; an async context manager that removes them in the end.

    Namespaces are given with their labels; they are made here, so there must be none of these names.
    """

    def __init__(
        self, cluster: Cluster, namespaces: Mapping[str, Mapping[str, str]], pods: Iterable[AgentPod]
    ) -> None:
        self._cluster = cluster
        self._namespaces = [_namespace(name, labels) for name, labels in sorted(namespaces.items())]
        self._pods = {pod.key: pod for pod in pods}
        self._stack = AsyncExitStack()
        self.by_key: dict[str, Agent] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._enter()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    def __getitem__(self, key: str) -> Agent:
        return self.by_key[key]

    async def _enter(self) -> None:
        controls = {key: _control(pod) for key, pod in self._pods.items()}
        image = self._cluster.images.probe
        made = [_pod(pod, image, controls[key]) for key, pod in self._pods.items()]
        await self._cluster.kubectl.apply([*self._namespaces, *made])
        addresses = await self._ready()
        opened = await asyncio.gather(*(self._forward(pod, controls[key]) for key, pod in self._pods.items()))
        for pod, line in zip(self._pods.values(), opened, strict=True):
            self.by_key[pod.key] = Agent(pod, addresses[pod.key], line)

    async def _leave(self) -> None:
        await self._stack.aclose()
        await self._cluster.kubectl.delete(self._namespaces, DELETE_SECONDS)

    async def _ready(self) -> dict[str, tuple[Address, ...]]:
        """Addresses of each pod, all being ready."""
        found: dict[str, Json] = {}
        try:
            async for _ in Deadline(self._cluster.patience, "the start of probe pods"):
                found = {_key(tree): tree for tree in await self._cluster.kubectl.all("pods", "-l", LABEL)}
                if all(key in found and _is_ready(found[key]) for key in self._pods):
                    break
        except ClusterError as over:
            states = (f"{key}: {_state(found.get(key, {}))}" for key in self._pods)
            raise ClusterError("\n".join((str(over), *states))) from None
        return {key: _addresses(found[key]) for key in self._pods}

    async def _forward(self, pod: AgentPod, control: int) -> AgentLine:
        words = (
            "-n",
            pod.namespace,
            "port-forward",
            "--address",
            "127.0.0.1",
            f"pod/{pod.name}",
            f":{control}",
        )
        following = await self._stack.enter_async_context(
            self._cluster.kubectl.client.following(*words, seconds=self._cluster.patience)
        )
        said = _FORWARDING.match(await following.line())
        if said is None:
            raise ClusterError(f"{pod.key}: kubectl port-forward: {(await following.ended()).err.strip()}")
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", int(said[1])))
        line = await self._stack.enter_async_context(AgentLine(connection))
        await line.ask(())
        return line


def _control(pod: AgentPod) -> int:
    return next(HOST_CONTROLS) if pod.host_network else FIRST_CONTROL


def _namespace(name: str, labels: Mapping[str, str]) -> Json:
    # Raw sockets and the node's own network, which the other levels refuse.
    own = {LABEL: "true", "pod-security.kubernetes.io/enforce": "privileged"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**labels, **own}}}


def _pod(pod: AgentPod, image: str, control: int) -> Json:
    words = ["--identity", pod.key, "--control", str(control), "--ready", str(control + 1)]
    if not pod.host_network:
        words += [
            word
            for protocol, number in sorted(pod.ports, key=lambda port: (port[0].value, port[1]))
            for word in (f"--{protocol.value.lower()}", str(number))
        ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": {**pod.labels, LABEL: "true"}},
        "spec": {
            # Bound by us: a test says on which node a pod is, whatever taints keep others away.
            "nodeName": pod.node,
            "hostNetwork": pod.host_network,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": CONTAINER,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": words,
                    "ports": list(_declared(pod)),
                    "readinessProbe": {"tcpSocket": {"port": control + 1}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "NET_RAW"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def _declared(pod: AgentPod) -> Iterator[Json]:
    for port in pod.named if not pod.host_network else ():
        yield {"name": port.name, "containerPort": port.number, "protocol": port.protocol.value}


def _key(tree: Json) -> str:
    return f"{tree['metadata']['namespace']}/{tree['metadata']['name']}"


def _is_ready(tree: Json) -> bool:
    conditions = tree.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _state(tree: Json) -> str:
    status = tree.get("status", {})
    return json.dumps(
        [status.get("phase"), *(one.get("state") for one in status.get("containerStatuses") or ())]
    )


def _addresses(tree: Json) -> tuple[Address, ...]:
    return tuple(ip_address(one["ip"]) for one in tree["status"]["podIPs"])
