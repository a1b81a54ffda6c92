"""The truth table of selectors, ports, directions, protocols and families, with the verdict of each cell.

Knows the API's sentences as two tables, PEERS and ADMITTED. Knows nothing of the evaluator: it is judged by this too.
"""

import enum
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.evaluate.decision import Verdict
from compilers.evaluate.traffic import ICMP, Traffic, traffic_between
from compilers.model.cluster import Cluster, Namespace, Node, Pod
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector
from compilers.model.words import Address, Direction, Family, Protocol
from policy_controller.testing.laboratory.addresses import OUTSIDE4, OUTSIDE6, node_addresses, pod_networks


class Selector(enum.Enum):
    """How a selector stands to the other end."""

    ABSENT = "absent"
    EMPTY = "empty"
    MATCHING = "matching"
    OTHER = "not matching"


class Other(enum.Enum):
    """The end that is not the subject."""

    NEIGHBOUR = "a pod of the subject's namespace"
    STRANGER = "a pod of another namespace, whose labels namespaceSelector matches"
    NODE = "another node"
    OUTSIDE = "outside the cluster"


class Ports(enum.Enum):
    """What a rule says about ports."""

    ABSENT = "absent"
    EMPTY = "empty"
    PROTOCOL = "a protocol alone"
    NUMBER = "a number"
    RANGE = "a range"
    NAME = "a name"


A, E, M, O = Selector.ABSENT, Selector.EMPTY, Selector.MATCHING, Selector.OTHER  # noqa: E741 - columns of a table
PODS: Final = frozenset({Other.NEIGHBOUR, Other.STRANGER})
NEIGHBOUR: Final = frozenset({Other.NEIGHBOUR})
STRANGER: Final = frozenset({Other.STRANGER})
NOBODY: Final = frozenset[Other]()

PEERS: Final[Mapping[tuple[Selector, Selector], frozenset[Other]]] = {
    # (podSelector, namespaceSelector): whom the peer names. Both absent: the rule has no peers and names everyone.
    (A, A): frozenset(Other), (E, A): NEIGHBOUR, (M, A): NEIGHBOUR, (O, A): NOBODY,
    (A, E): PODS,             (E, E): PODS,      (M, E): PODS,      (O, E): NOBODY,
    (A, M): STRANGER,         (E, M): STRANGER,  (M, M): STRANGER,  (O, M): NOBODY,
    (A, O): NOBODY,           (E, O): NOBODY,    (M, O): NOBODY,    (O, O): NOBODY,
}  # fmt: skip

FIRST, INSIDE, LAST, NAMED = 8080, 8083, 8085, 8090
NAME: Final = "service"
TRIED: Final = (FIRST - 1, FIRST, INSIDE, LAST, LAST + 1, NAMED)

ADMITTED: Final[Mapping[Ports, frozenset[int]]] = {
    # The ports of TRIED that are admitted, of the rule's protocol; ABSENT and EMPTY admit every protocol too.
    Ports.ABSENT: frozenset(TRIED),
    Ports.EMPTY: frozenset(TRIED),
    Ports.PROTOCOL: frozenset(TRIED),
    Ports.NUMBER: frozenset({FIRST}),
    Ports.RANGE: frozenset({FIRST, INSIDE, LAST}),
    Ports.NAME: frozenset({NAMED}),
}
UNRESTRICTED: Final = frozenset({Ports.ABSENT, Ports.EMPTY})

SHOP, OPS = Namespace("shop", {"team": "shop"}, "uid-shop"), Namespace("ops", {"team": "ops"}, "uid-ops")
HOSTS: Final[Mapping[str, tuple[str, int, int]]] = {
    # name: namespace, node (from 1), host number
    "subject": ("shop", 1, 11),
    "neighbour": ("shop", 2, 11),
    "stranger": ("ops", 2, 12),
}


@dataclass(frozen=True, slots=True)
class TruthCase:
    """One policy in one cluster, and the verdict that each tried connection must have."""

    name: str
    cluster: Cluster
    expected: tuple[tuple[Traffic, Verdict], ...]


def truth_table() -> Iterator[TruthCase]:
    """Every combination once; `name` says which. The policy isolates one direction of `shop/subject`."""
    for direction, (pod, namespace), ports in itertools.product(Direction, PEERS, Ports):
        for protocol in (Protocol.TCP,) if ports in UNRESTRICTED else tuple(Protocol):
            name = (
                f"{direction.value}, podSelector {pod.value}, namespaceSelector {namespace.value}, "
                f"ports {ports.value}, {protocol.value}"
            )
            cluster = _cluster(direction, _rule(pod, namespace, ports, protocol))
            expected = tuple(
                (_traffic(cluster, direction, other, family, service), verdict)
                for family in Family
                for other in Other
                for service, verdict in _expected(direction, other, PEERS[pod, namespace], ports, protocol)
            )
            yield TruthCase(name, cluster, expected)


def _expected(
    direction: Direction, other: Other, peers: frozenset[Other], ports: Ports, protocol: Protocol
) -> Iterator[tuple[tuple[Protocol | None, int | None], Verdict]]:
    # A name is resolved on the pod that is connected to: of an egress rule, the other end, which may be no pod.
    nameless = ports is Ports.NAME and direction is Direction.EGRESS and other not in PODS
    for tried, number in itertools.product(Protocol, TRIED):
        admits = tried is protocol and number in ADMITTED[ports] and not nameless
        allowed = other in peers and (ports in UNRESTRICTED or admits)
        yield (tried, number), Verdict.ALLOWED if allowed else Verdict.DENIED
    unported = other in peers and ports in UNRESTRICTED
    yield (None, None), Verdict.ALLOWED if unported else Verdict.DENIED


def _traffic(
    cluster: Cluster,
    direction: Direction,
    other: Other,
    family: Family,
    service: tuple[Protocol | None, int | None],
) -> Traffic:
    subject, remote = _addresses("subject")[family], _other_addresses(other)[family]
    source, destination = (subject, remote) if direction is Direction.EGRESS else (remote, subject)
    protocol, port = service
    return traffic_between(cluster, source, destination, ICMP[family] if protocol is None else protocol, port)


def _other_addresses(other: Other) -> Mapping[Family, Address]:
    match other:
        case Other.NEIGHBOUR | Other.STRANGER:
            return _addresses(other.name.lower())
        case Other.NODE:
            ipv4, ipv6 = node_addresses(2)
            return {Family.IPV4: ipv4, Family.IPV6: ipv6}
        case Other.OUTSIDE:
            return {Family.IPV4: OUTSIDE4[9], Family.IPV6: OUTSIDE6[9]}


def _addresses(name: str) -> Mapping[Family, Address]:
    _, node, host = HOSTS[name]
    ipv4, ipv6 = pod_networks(node)
    return {Family.IPV4: ipv4[host], Family.IPV6: ipv6[host]}


def _cluster(direction: Direction, rule: PolicyRule) -> Cluster:
    named = tuple(NamedPort(NAME, protocol.value, NAMED) for protocol in sorted(Protocol, key=str))
    pods = [
        Pod(
            namespace=namespace,
            name=name,
            uid=f"uid-{name}",
            labels={"app": name, "kind": "tried"},
            node=f"node-{'ab'[node - 1]}",
            addresses=tuple(_addresses(name).values()),
            ports=named,
        )
        for name, (namespace, node, _) in HOSTS.items()
    ]
    subject = LabelSelector((("app", "subject"),))
    policy = NetworkPolicy("shop", "tried", "uid-tried", subject, {direction: Side((rule,))})
    nodes = [Node("node-a", node_addresses(1)), Node("node-b", node_addresses(2))]
    return Cluster.of([SHOP, OPS], pods, [policy], nodes)


def _rule(pod: Selector, namespace: Selector, ports: Ports, protocol: Protocol) -> PolicyRule:
    peers: tuple[Peer, ...] | None = None
    if (pod, namespace) != (Selector.ABSENT, Selector.ABSENT):
        peers = (SelectorPeer(_selector(pod, "kind", "tried"), _selector(namespace, "team", "ops")),)
    matches: Mapping[Ports, tuple[PortMatch, ...] | None] = {
        Ports.ABSENT: None,
        Ports.EMPTY: (),
        Ports.PROTOCOL: (PortMatch(protocol),),
        Ports.NUMBER: (PortMatch(protocol, FIRST),),
        Ports.RANGE: (PortMatch(protocol, FIRST, LAST),),
        Ports.NAME: (PortMatch(protocol, NAME),),
    }
    return PolicyRule(peers, matches[ports])


def _selector(selector: Selector, key: str, value: str) -> LabelSelector | None:
    match selector:
        case Selector.ABSENT:
            return None
        case Selector.EMPTY:
            return EVERYTHING
        case Selector.MATCHING:
            return LabelSelector(((key, value),))
        case Selector.OTHER:
            return LabelSelector(((key, "nothing"),))
