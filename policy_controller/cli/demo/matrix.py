"""Every pair and port of the demo: what packets saw beside what the reference evaluator expects.

Knows traffic, probes and verdicts. Prints nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.evaluate.decision import Decision, Verdict
from compilers.evaluate.ends import End, NodeEnd, PodEnd, end_at
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster
from compilers.model.words import Address, Protocol
from policy_controller.testing.agreement.packets import TRANSPORT, VERDICT
from policy_controller.testing.installation.population import OUTSIDE_ADDRESSES, OUTSIDE_PORT
from policy_controller.testing.installation.trees import PodKey, Service
from policy_controller.testing.probe import Endpoint, Probe, Prober, ProbeResult

EVERYWHERE: Final[Service] = (Protocol.TCP, 80)
"""Tried at every pod beside the ports it declares: a closed port refuses, which shows that the packet arrived."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One connection: what was expected and why, and what packets saw (None: the outcome says nothing).

    `source` is who sends: a node also where it comes with an address that the API does not tell of.
    """

    source: str
    decision: Decision
    seen: Verdict | None
    result: ProbeResult

    @property
    def agrees(self) -> bool:
        """Whether packets saw what the evaluator expects."""
        return self.seen is self.decision.verdict


Far = Mapping[Address, str]
"""Each address with which a node comes to pods of other nodes, and that node."""


def connections(cluster: Cluster, ports: Mapping[PodKey, frozenset[Service]], far: Far) -> Iterator[Traffic]:
    """From every pod, node and outside address to every pod, and from every pod to the outside, in both families.

    From a node to another's pods only with its far addresses: with others no packet of it comes there.
    """
    ends = [end_at(cluster, address) for address in _addresses(cluster, far)]
    for source in ends:
        for destination in ends:
            if source.address.version != destination.address.version or source == destination:
                continue
            if _never_seen(cluster, source.address, destination, far):
                continue
            if isinstance(destination, PodEnd):
                services = ports.get((destination.pod.namespace, destination.pod.name), frozenset()) | {
                    EVERYWHERE
                }
            elif destination.address in OUTSIDE_ADDRESSES and isinstance(source, PodEnd):
                services = frozenset({(Protocol.TCP, OUTSIDE_PORT)})
            else:
                continue
            for protocol, port in sorted(services, key=lambda service: (service[0].value, service[1])):
                yield Traffic(source, destination, protocol, port)


def _never_seen(cluster: Cluster, source: Address, destination: End, far: Far) -> bool:
    """Whether the network never carries a packet of a node from this of its addresses to that end."""
    node = cluster.node_of_address.get(source)
    if not isinstance(destination, PodEnd):
        return False
    if node is not None and node != destination.pod.node:
        return source not in far
    return node is None and far.get(source) == destination.pod.node


def _addresses(cluster: Cluster, far: Far) -> Iterator[Address]:
    for pod in cluster.pods:
        yield from cluster.addresses_of(pod)
    for node in cluster.nodes.values():
        yield from node.addresses
    yield from sorted(far.keys() - cluster.node_of_address.keys(), key=lambda one: (one.version, int(one)))
    yield from OUTSIDE_ADDRESSES


def probe_of(traffic: Traffic, namespaces: Mapping[Address, str]) -> Probe:
    """The probe that makes this connection; `namespaces` says where each address lives."""
    if not isinstance(traffic.protocol, Protocol):
        raise TypeError("the demo probes TCP, UDP and SCTP")
    source = traffic.source.address
    return Probe(
        Endpoint(namespaces[source], source),
        traffic.destination.address,
        TRANSPORT[traffic.protocol],
        traffic.port,
        peer=_peer(traffic.destination),
    )


def _peer(end: End) -> str | None:
    return f"{end.pod.namespace}/{end.pod.name}" if isinstance(end, PodEnd) else None


async def check(
    cluster: Cluster, traffics: Iterable[Traffic], prober: Prober, namespaces: Mapping[Address, str], far: Far
) -> tuple[Checked, ...]:
    """Make every connection and judge it."""
    asked = tuple(traffics)
    results = await prober.run([probe_of(traffic, namespaces) for traffic in asked])
    return tuple(
        Checked(sender(traffic.source, far), judge(cluster, traffic), VERDICT.get(result.outcome), result)
        for traffic, result in zip(asked, results, strict=True)
    )


def sender(source: End, far: Far) -> str:
    """Who sends from an end, in the words for pods and nodes; outside of both it is the address."""
    node = far.get(source.address)
    return str(source) if node is None else str(NodeEnd(node, source.address))
