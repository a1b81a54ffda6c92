"""A place to install on: two nodes, an API server that lets RBAC decide, kubelets, pods that answer; nothing is applied yet.

Knows kubectl, the kubelet of the laboratory, and packets. Knows nothing of what is applied.
"""

import asyncio
import datetime
import json
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import yaml

from manifests.tests.reading import FOLDER, NAMESPACE, Json
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.features import Features, Permission, Transport
from policy_controller.testing.client_tools import CommandLine
from policy_controller.testing.kubelet import Kubelet, PodLife
from policy_controller.testing.kubelet.relay import CLUSTER_IP
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober
from policy_controller.testing.probe import Transport as Spoken

NODES: Final = ("node-a", "node-b")
OPERATOR, ENFORCER = "policy-controller", "policy-enforcer"
"""Names of the workloads."""
OPERATOR_USER: Final = f"system:serviceaccount:{NAMESPACE}:{OPERATOR}"
ENFORCER_USER: Final = f"system:serviceaccount:{NAMESPACE}:{ENFORCER}"
PORT: Final = 80
SECONDS: Final = 20.0
FEATURES: Final = Features(transport=Transport.TLS, names=(CLUSTER_IP,), permission=Permission.AUTHORIZED)


class Ahead:
    """The API server's clock, which a test may put forward."""

    def __init__(self) -> None:
        self.by = datetime.timedelta()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + self.by


class Site:
    """An async context manager. `server` takes malformed policies, as older servers have stored them."""

    def __init__(self, kubectl: Path, directory: Path, network: NetworkKind = NetworkKind.BRIDGE) -> None:
        self._kubectl = kubectl
        self._network = network
        self.directory = directory
        self._stack = AsyncExitStack()
        self.pods: dict[str, Pod] = {}

    async def __aenter__(self) -> Self:
        enter, enter_async = self._stack.enter_context, self._stack.enter_async_context
        self.laboratory = enter(Laboratory(network=self._network))
        self.clock = Ahead()
        self.server = ApiServer(validate=False, features=FEATURES, clock=self.clock)
        await enter_async(self.server.listening("127.0.0.1", 0))
        self.prober = await enter_async(Prober())
        kubeconfig = self.directory / "kubeconfig"
        kubeconfig.write_text(self.server.kubeconfig())
        self.client = CommandLine(self._kubectl, kubeconfig, self.directory, os.defpath)
        self.kubelet = await enter_async(Kubelet(self.laboratory, kubeconfig, self.directory))
        for name in NODES:
            await asyncio.to_thread(self.laboratory.add_node, name)
            await self.kubelet.add_node(name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def apply(self, *documents: Json) -> dict[str, str]:
        """The whole folder, or these documents; what kubectl says became of each object."""
        where = ("-f", "-") if documents else ("-k", str(FOLDER))
        ended = await self.client.run(
            "apply", *where, stdin=yaml.safe_dump_all(documents) if documents else None
        )
        assert ended.code == 0, ended.err
        assert not ended.err
        return {line.split()[0]: line.split()[1] for line in ended.out.splitlines()}

    async def settled(self) -> None:
        await self.kubelet.settled(SECONDS)

    async def until(self, done: Callable[[], bool], what: str) -> None:
        await self.kubelet.until(done, SECONDS, lambda: what)

    def operator(self) -> PodLife:
        (life,) = self.kubelet.pods_of(OPERATOR)
        return life

    def enforcers(self) -> tuple[PodLife, ...]:
        return self.kubelet.pods_of(ENFORCER)

    def words(self, life: PodLife) -> list[str]:
        """What the pod's one container has logged: the messages."""
        (container,) = life.tree["spec"]["containers"]
        lines = life.log_of(container["name"]).read_text().splitlines()
        return [str(json.loads(line)["message"]) for line in lines]

    async def add_pod(self, name: str, node: str) -> None:
        """A pod of the namespace `default` with its name as a label, which answers on PORT."""
        built = await asyncio.to_thread(self.laboratory.add_pod, self.laboratory.nodes[node], name)
        self.prober.listen(Listener(built.namespace, f"default/{name}", tcp=(PORT,)))
        addresses = [{"ip": str(address)} for address in built.addresses]
        self.server.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {
                    "nodeName": node,
                    "containers": [{"name": "app", "image": "registry.example/app:1"}],
                },
                "status": {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses},
            }
        )
        self.pods[name] = built

    async def outcomes(self, source: str, destination: str) -> set[Outcome]:
        """What one pod's connections to another's addresses meet."""
        from_, to = self.pods[source], self.pods[destination]
        probes = [
            Probe(Endpoint(from_.namespace), address, Spoken.TCP, PORT, peer=f"default/{destination}")
            for address in to.addresses
        ]
        return {result.outcome for result in await self.prober.run(probes)}

    async def comes_to(self, source: str, destination: str, outcome: Outcome) -> None:
        """Probe until packets see it; fails when they do not in time."""
        deadline = time.monotonic() + SECONDS
        while (seen := await self.outcomes(source, destination)) != {outcome}:
            assert time.monotonic() < deadline, f"{source} -> {destination}: {seen}"


def policy(name: str, ingress: list[Json], selector: Json | None = None, namespace: str = "default") -> Json:
    """Isolates what it selects in ingress, and admits what these rules say."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector or {}, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def deny_all(namespace: str) -> Json:
    """Both directions of every pod of the namespace."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny-all", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }
