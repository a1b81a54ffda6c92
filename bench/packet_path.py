"""`packets`: what the rule set adds to a packet on its way from one pod to another on a node.

A ring of UDP packets is sent through the node's hooks, once without our tables and once with them, in pairs: the ratio of
a pair is free of what the machine does meanwhile. A new flow is one packet; for established packets the flow was
answered once. Both pods are isolated in both directions, and the last rule of each class admits. Connection tracking is on
without our tables too, as kube-proxy has it.
"""

import os
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from pyroute2 import IPRoute

from bench.clusters import cluster
from bench.measure import NANOSECONDS, Measured, median, ratio, without_collections
from bench.tables import BASE
from compilers.compile.compiler import Compiler
from compilers.model.cluster import Cluster
from compilers.model.cluster import Pod as ClusterPod
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.port import PortMatch
from compilers.model.selector import LabelSelector
from compilers.model.words import Direction, Protocol
from compilers.nftables.render import Tables, render
from compilers.nftables.transaction import DeleteTable, Transaction, install
from policy_controller.testing.agreement.kernels import Kernels
from policy_controller.testing.flood.ring import SLOTS_OF_A_BLOCK, TransmitRing
from policy_controller.testing.flood.sender import FLOWS, next_mac
from policy_controller.testing.flood.streams import FIRST_PORT, Stream
from policy_controller.testing.laboratory import Laboratory, Pod, inside

PORT: Final = 9
RULES: Final = (1, 5, 100)
"""Rules of each of the two classes that judge the packet."""
PODS: Final = 1_000
"""Pods of the cluster that the rule set is compiled from."""
PAIRS: Final = 11
NAMESPACE: Final = "team-0"
TRACKING: Final = """
table inet tracking {
  chain postrouting {
    type nat hook postrouting priority srcnat
    meta mark & 0x4000 == 0x4000 masquerade
  }
}
"""
"""A rule that needs connection tracking turns it on; this one is kube-proxy's."""
SINK: Final = """
table netdev sink {{
  chain arriving {{
    type filter hook ingress device "{interface}" priority 0
    meta l4proto udp drop
  }}
}}
"""
"""What arrives has been judged; no socket and no answer is to be paid for."""


@dataclass(frozen=True, slots=True)
class Path:
    """Two pods of one node, the kernels that are told what holds there, and the rings of packets between them."""

    laboratory: Laboratory
    kernels: Kernels
    source: Pod
    destination: Pod
    new: TransmitRing
    established: TransmitRing

    @property
    def node(self) -> str:
        """The node's network namespace."""
        return self.source.node.namespace

    def new_flows(self) -> float:
        """Seconds for FLOWS packets, each the first of its flow."""
        self.kernels.forget_connections(self.node)
        return _sent(self.new, FLOWS)

    def established_packets(self) -> float:
        """Seconds for FLOWS packets of one flow that was answered."""
        self.kernels.forget_connections(self.node)
        self.established.send(1)
        self._answer()
        return _sent(self.established, FLOWS)

    def _answer(self) -> None:
        with inside(self.destination.namespace):
            answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with answering:
            answering.bind((str(self.destination.ipv4), PORT))
            answering.sendto(b"answer", (str(self.source.ipv4), FIRST_PORT))


def measure() -> Measured:
    """Nanoseconds without our tables, and the medians of ratios with them."""
    metrics: dict[str, float] = {}
    with ExitStack() as stack:
        path = _path(stack)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for rules in RULES:
            tables = _tables(path, rules)
            for kind, sent in (("new_flow", path.new_flows), ("established", path.established_packets)):
                pairs = []
                with without_collections():
                    for _ in range(PAIRS):
                        bare = sent()
                        path.kernels.run(path.node, [install(table) for table in tables.each()])
                        pairs.append((bare, sent()))
                        gone = tuple(DeleteTable(table.identity) for table in tables.each())
                        path.kernels.run(path.node, [Transaction(gone)])
                metrics[f"{kind}_without_ns"] = median((bare / FLOWS for bare, _ in pairs), NANOSECONDS)
                metrics[f"{kind}_{rules}_rules_ratio"] = ratio(pairs)
    return Measured("packets", dict(sorted(metrics.items())))


def _sent(ring: TransmitRing, count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count // SLOTS_OF_A_BLOCK):
        ring.send(SLOTS_OF_A_BLOCK)
    return time.perf_counter() - begun


def _path(stack: ExitStack) -> Path:
    kernels = stack.enter_context(Kernels())
    laboratory = stack.enter_context(Laboratory())
    node = laboratory.add_node("node-0")
    source, destination = (laboratory.add_pod(node, name) for name in ("source", "destination"))
    macs = laboratory.run_in(source.namespace, lambda: _macs(source, destination))
    _nft(node.namespace, TRACKING)
    for pod in (source, destination):
        _nft(pod.namespace, SINK.format(interface=pod.interface))
    stream = Stream("bench", source.ipv4, destination.ipv4, PORT)
    many = tuple(stream.frames(*macs, range(FIRST_PORT, FIRST_PORT + FLOWS)))
    one = tuple(stream.frames(*macs, [FIRST_PORT] * SLOTS_OF_A_BLOCK))
    rings = (
        stack.enter_context(
            laboratory.run_in(source.namespace, partial(TransmitRing, source.interface, frames))
        )
        for frames in (many, one)
    )
    return Path(laboratory, kernels, source, destination, *rings)


def _macs(source: Pod, destination: Pod) -> tuple[str, str]:
    with IPRoute() as route:
        return source.mac, next_mac(route, destination.ipv4)


def _tables(path: Path, rules: int) -> Tables:
    """The node's tables in a cluster of PODS pods and the path's two, whose classes have so many rules each."""
    state = cluster(PODS)
    ends = [_end(path.source), _end(path.destination)]
    policies = [_admitting(direction, rules) for direction in Direction]
    state = Cluster.of(
        state.namespaces.values(),
        (*state.pods, *ends),
        (*(policy for policy in state.policies if policy.namespace != NAMESPACE), *policies),
        state.nodes.values(),
    )
    return render(Compiler(state).node("node-0"), BASE)


def _end(pod: Pod) -> ClusterPod:
    return ClusterPod(NAMESPACE, pod.name, f"uid-{pod.name}", {"app": "bench"}, "node-0", pod.addresses)


def _admitting(direction: Direction, rules: int) -> NetworkPolicy:
    """Isolates both pods; the last of its rules admits the other one."""
    everybody = LabelSelector((("app", "bench"),))
    ports = [(1_000 + number,) for number in range(rules - 1)] + [(PORT,)]
    admits = tuple(
        PolicyRule((SelectorPeer(everybody, None),), tuple(PortMatch(Protocol.UDP, port) for port in group))
        for group in ports
    )
    return NetworkPolicy(
        NAMESPACE,
        f"bench-{direction.value}",
        f"uid-bench-{direction.value}",
        everybody,
        {direction: Side(admits)},
    )


def _nft(namespace: str, text: str) -> None:
    with inside(namespace):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)  # noqa: S607 - make system installs it
