"""The way of traffic through the nodes of a cluster, and the verdict of the compiled tables on it.

Knows which hooks a first packet meets on its way between two ends. Knows nothing of the kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Verdict
from compilers.evaluate.ends import End, NodeEnd, PodEnd
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster
from compilers.model.faults import ObjectRef
from compilers.model.words import PROTOCOLS, Protocol
from compilers.nftables.base import Base
from compilers.nftables.packet import ICMPV6, Packet, PacketHook
from compilers.nftables.render import Tables, render
from compilers.nftables.trace import Decision, Trace, Walker
from compilers.ruleset.rule_set import RuleSet

POD_INTERFACE: Final = "cni0"
UPLINK: Final = "eth0"
ECHO_REQUEST: Final = 128


@dataclass(frozen=True, slots=True)
class Hop:
    """One hook of one node."""

    node: str
    hook: PacketHook
    iifname: str
    oifname: str = ""


def node_of(end: End) -> str | None:
    """The node that an end is on; None outside the cluster."""
    match end:
        case PodEnd(pod=pod):
            return pod.node
        case NodeEnd(name=name):
            return name
        case _:
            return None


def way(traffic: Traffic) -> tuple[Hop, ...]:
    """The hooks that the first packet meets, on nodes whose pods hang on a bridge named cni0.

    A node's own packets leave through `output`, where there is no gate, so its first hop is the other end's node.
    """
    source, destination = node_of(traffic.source), node_of(traffic.destination)
    from_pod, to_pod = isinstance(traffic.source, PodEnd), isinstance(traffic.destination, PodEnd)
    hops: list[Hop] = []
    if source is not None and from_pod:
        if destination == source:
            there = PacketHook.FORWARD if to_pod else PacketHook.INPUT
            return (Hop(source, there, POD_INTERFACE, POD_INTERFACE if to_pod else ""),)
        hops.append(Hop(source, PacketHook.FORWARD, POD_INTERFACE, UPLINK))
    if destination is not None and destination != source:
        if to_pod:
            hops.append(Hop(destination, PacketHook.FORWARD, UPLINK, POD_INTERFACE))
        else:
            hops.append(Hop(destination, PacketHook.INPUT, UPLINK))
    return tuple(hops)


@dataclass(frozen=True, slots=True)
class Walked:
    """The verdict of the tables, the node and trace that decided, and the policies of the class that dropped."""

    verdict: Verdict
    node: str | None = None
    trace: Trace | None = None
    policies: tuple[ObjectRef, ...] = ()


class ClusterWalk:
    """Every node's tables for one cluster state, prepared for many packets."""

    def __init__(self, cluster: Cluster, base: Base) -> None:
        self.rule_sets: Mapping[str, RuleSet] = compile_nodes(cluster)
        self.tables: Mapping[str, Tables] = {name: render(one, base) for name, one in self.rule_sets.items()}
        self._walkers = {name: Walker(tables.each()) for name, tables in self.tables.items()}

    def verdict(self, traffic: Traffic) -> Verdict:
        """Whether the first packet of the traffic passes every hook on its way."""
        for hop in way(traffic):
            if self._walkers[hop.node].verdict(packet_at(traffic, hop)) is Decision.DROP:
                return Verdict.DENIED
        return Verdict.ALLOWED

    def walk(self, traffic: Traffic) -> Walked:
        """The verdict with the trace of the hop that dropped the packet."""
        for hop in way(traffic):
            trace = self._walkers[hop.node].trace(packet_at(traffic, hop))
            if trace.decision is Decision.DROP:
                dropped_by = self.rule_sets[hop.node].classes.get(trace.chain or "")
                return Walked(Verdict.DENIED, hop.node, trace, dropped_by.policies if dropped_by else ())
        return Walked(Verdict.ALLOWED)


def packet_at(traffic: Traffic, hop: Hop) -> Packet:
    """The first packet of the traffic as a hop meets it; ICMPv6 is an echo request.

    What a pod sends to its own address stays inside it, so at a hop it has come by a Service.
    """
    protocol = traffic.protocol
    number = PROTOCOLS[protocol].number if isinstance(protocol, Protocol) else protocol
    return Packet(
        hook=hop.hook,
        iifname=hop.iifname,
        oifname=hop.oifname,
        source=traffic.source.address,
        destination=traffic.destination.address,
        protocol=number,
        destination_port=traffic.port,
        icmpv6_type=ECHO_REQUEST if number == ICMPV6 else None,
        translated=_is_one_pod(traffic.source, traffic.destination),
    )


def _is_one_pod(source: End, destination: End) -> bool:
    return (
        isinstance(source, PodEnd)
        and isinstance(destination, PodEnd)
        and source.pod.uid == destination.pod.uid
    )
