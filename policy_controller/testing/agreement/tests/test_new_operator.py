"""Every operator is lost, and another is started on a node that nobody told of it: enforcer processes, TLS and packets.

What each node is told comes from the compiler; the operator is a double that says it, in the network namespace of a pod.
"""

import asyncio
import copy
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.tests.stage import policy
from compilers.model.cluster import OPERATOR, Cluster, Namespace
from compilers.model.cluster import Pod as ModelPod
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address, Protocol
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer.tests.operator_double import OperatorDouble, Site, serving
from policy_controller.testing.agreement.tests.scene import Record, command
from policy_controller.testing.agreement.tests.service_town import NODE_A, NODE_B, SERVICE_NETWORKS
from policy_controller.testing.kube_proxy import Endpoint, KubeProxy, Mode, ProxiedNode, ServicePort
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod
from policy_controller.testing.probe import Endpoint as Start
from policy_controller.testing.probe import Listener, Outcome, Probe, Prober, Transport
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import Ack, InForce, SnapshotMessage, Stands

pytestmark = [pytest.mark.packets, pytest.mark.timeout(120)]

ENFORCER: Final = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
NODES: Final = (NODE_A, NODE_B)
SPACES: Final = ("shop", "ops", OPERATOR.namespace)
API_IP, OPERATOR_IP = (SERVICE_NETWORKS[0][number] for number in (1, 2))
API_PORT, PORT, POD_PORT, TARGET = 443, 9473, 80, 6443
SETTLE_SECONDS: Final = 20.0
ON_NETWORKS: Final = [
    pytest.param(kind, marks=() if kind is NetworkKind.BRIDGE else pytest.mark.whole, id=kind.value)
    for kind in NetworkKind
]


class Street:
    """Two nodes with an enforcer and a kube-proxy each; the API server is a process of the second."""

    def __init__(self, laboratory: Laboratory, prober: Prober, folder: Path) -> None:
        self._laboratory, self._prober, self._folder = laboratory, prober, folder
        for name in NODES:
            laboratory.add_node(name)
        self._site = Site(folder, HostPort(str(OPERATOR_IP), PORT))
        self._proxies = [self._proxy(name) for name in NODES]
        self._enforcers = {name: self._enforcer(name) for name in NODES}
        prober.listen(Listener(laboratory.nodes[NODE_B].namespace, "api-server", (TARGET,)))

    def add_pod(self, name: str, node: str) -> Pod:
        """A pod that answers on POD_PORT."""
        pod = self._laboratory.add_pod(self._laboratory.nodes[node], name)
        self._prober.listen(Listener(pod.namespace, name, (POD_PORT,)))
        return pod

    def lead_to(self, *operators: Pod) -> None:
        """Have every kube-proxy lead to the API server and to these operators."""
        api_server = Endpoint(self._laboratory.nodes[NODE_B].ipv4, TARGET, NODE_B)
        pods = tuple(Endpoint(pod.addresses[0], PORT, pod.node.name) for pod in operators)
        kubernetes = ServicePort("default", "kubernetes", Protocol.TCP, API_PORT, (API_IP,), (api_server,))
        operator = ServicePort(OPERATOR.namespace, OPERATOR.name, Protocol.TCP, PORT, (OPERATOR_IP,), pods)
        for proxy in self._proxies:
            proxy.sync((kubernetes, operator))

    @asynccontextmanager
    async def operator(self, pod: Pod) -> AsyncIterator[OperatorDouble]:
        """An operator that listens in the pod."""
        site = copy.copy(self._site)
        site.way = replace(site.way, operator=HostPort(str(pod.addresses[0]), PORT))
        async with serving(site, lambda listen: self._laboratory.run_in(pod.namespace, listen)) as double:
            yield double

    async def kill_enforcer(self, node: str) -> None:
        """What it had the kernel hold stays."""
        self._enforcers[node].kill()
        await asyncio.to_thread(self._enforcers[node].wait)

    def start_enforcer(self, node: str) -> None:
        """Another after one that was killed."""
        self._enforcers[node] = self._enforcer(node)

    async def reaches(self, source: Pod, called: Address, port: int) -> bool:
        """Whether a TCP connection of a pod comes about."""
        probe = Probe(Start(source.namespace), called, Transport.TCP, port)
        (result,) = await self._prober.run([probe])
        assert result.outcome in {Outcome.ACCEPTED, Outcome.TIMED_OUT}, result
        return result.outcome is Outcome.ACCEPTED

    def _proxy(self, name: str) -> KubeProxy:
        node = self._laboratory.nodes[name]
        for network in SERVICE_NETWORKS:
            command(node.namespace, "ip", "route", "replace", str(network), "dev", "eth0")
        proxied = ProxiedNode(name, node.addresses, node.pod_networks, SERVICE_NETWORKS)
        return KubeProxy(Mode.NFTABLES, node.namespace, proxied)

    def _enforcer(self, name: str) -> "subprocess.Popen[bytes]":
        told = {"KUBERNETES_SERVICE_HOST": str(API_IP), "KUBERNETES_SERVICE_PORT": str(API_PORT)}
        links = ",".join(self._laboratory.pod_interfaces)
        own = ("--node", name, "--state-directory", str(self._folder / f"{name}.state"))
        flags = (*self._site.flags(), *own, "--pod-interfaces", links)
        with (self._folder / f"{name}.log").open("ab") as log:
            namespace = self._laboratory.nodes[name].namespace
            return self._laboratory.spawn(
                namespace, [*ENFORCER, *flags], stdout=log, stderr=log, env={**os.environ, **told}
            )


@pytest_asyncio.fixture(params=ON_NETWORKS)
async def street(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Street]:
    with Laboratory(network=request.param) as laboratory:
        async with Prober() as prober:
            yield Street(laboratory, prober, tmp_path)


def state(**pods: tuple[Pod, str]) -> Cluster:
    """These pods, each in a namespace; a default deny stands for all but that of `ops`."""
    return Cluster.of(
        [Namespace(name, {}) for name in SPACES],
        [
            ModelPod(
                namespace,
                name,
                f"uid-{name}",
                {},
                pod.node.name,
                pod.addresses,
                account=OPERATOR.name if namespace == OPERATOR.namespace else "default",
            )
            for name, (pod, namespace) in pods.items()
        ],
        [
            policy(f"{name}/closed", EVERYTHING, ingress=[], egress=[])
            for name in ("shop", OPERATOR.namespace)
        ],
    )


async def tell(
    operator: OperatorDouble, cluster: Cluster, version: int, nodes: tuple[str, ...] = NODES
) -> dict[str, InForce | None]:
    """These nodes begin a stream and are told what they have to enforce; what each said that it enforced before."""
    rule_sets = compile_nodes(cluster)
    before: dict[str, InForce | None] = {}
    for _ in nodes:
        stream, hello = await operator.next_stream()
        rule_set = rule_sets[hello.node]
        answer = await stream.say(SnapshotMessage(1, Stands(version, version, version), rule_set))
        assert answer == Ack(1, digest_of(rule_set))
        before[hello.node] = hello.in_force
    assert set(before) == set(nodes)
    return before


async def test_a_new_operator_takes_over_nodes_that_nobody_told_of_it(
    street: Street, record_property: Record
) -> None:
    web, other = street.add_pod("web", NODE_A), street.add_pod("other", NODE_A)
    far, first = street.add_pod("far", NODE_B), street.add_pod("first", NODE_B)
    pods = {"web": (web, "shop"), "other": (other, "ops"), "far": (far, "shop")}
    # The enforcers have been running for a while; now there is an operator.
    async with street.operator(first) as operator:
        street.lead_to(first)
        before = await tell(operator, state(**pods, first=(first, OPERATOR.namespace)), 1)
        assert before == dict.fromkeys(NODES)
        assert not await street.reaches(other, web.addresses[0], POD_PORT)
    # It is gone, and with it whoever could say what happens from now on.
    street.lead_to()
    new = street.add_pod("second", NODE_A)
    deadline = time.monotonic() + SETTLE_SECONDS
    while await street.reaches(new, other.addresses[0], POD_PORT):
        assert time.monotonic() < deadline, "unknown addresses stay open"
    # Nor is there an enforcer on the node of the next one, which could reach it past every gate.
    await street.kill_enforcer(NODE_A)

    assert await street.reaches(new, API_IP, API_PORT)
    assert not await street.reaches(web, API_IP, API_PORT)
    async with street.operator(new) as operator:
        street.lead_to(new)
        now = state(**pods, second=(new, OPERATOR.namespace))
        before = await tell(operator, now, 2, (NODE_B,))
        assert before[NODE_B] is not None
        assert not await street.reaches(new, other.addresses[0], POD_PORT)
        street.start_enforcer(NODE_A)
        # It is another enforcer than the one that was told, and has read what that one saved.
        held = (await tell(operator, now, 2, (NODE_A,)))[NODE_A]
        assert held is not None
        assert held.stands == Stands(1, 1, 1)

        assert await street.reaches(new, API_IP, API_PORT)
        assert await street.reaches(new, other.addresses[0], POD_PORT)
        assert not await street.reaches(new, web.addresses[0], POD_PORT)
    record_property("new operators that took over untold nodes", 1)
