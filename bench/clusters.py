"""Clusters of a stated size: what a busy cluster holds, the same for everybody who asks.

Sixteen pods a namespace, five of them of one application; three policies a namespace: a default deny of both
directions, one that admits the namespace's web pods and the monitoring namespaces, and one that lets its pods out to its
database, to DNS and to a block. Knows the model. Knows nothing of time.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Final

from compilers.model.block import IpBlock
from compilers.model.cluster import NAME_LABEL, Cluster, Namespace, Node, Pod
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector
from compilers.model.words import Direction, Protocol

PODS_OF_A_NODE: Final = 100
PODS_OF_A_NAMESPACE: Final = 16
APPLICATIONS: Final = ("web", "api", "db")
TEAMS: Final = ("shop", "billing", "search", "monitoring")

PODS4: Final = int(IPv4Address("10.0.0.0"))
PODS6: Final = int(IPv6Address("fd00::"))
NODES4: Final = int(IPv4Address("172.16.0.0"))
BEYOND: Final = IpBlock(IPv4Network("203.0.113.0/24"), (IPv4Network("203.0.113.128/25"),))


def cluster(pods: int) -> Cluster:
    """A cluster with so many pods, a hundred a node; `node-0` is the first node."""
    namespaces = -(-pods // PODS_OF_A_NAMESPACE)
    names = [f"team-{number}" for number in range(namespaces)]
    nodes = -(-pods // PODS_OF_A_NODE)
    return Cluster.of(
        [Namespace(name, {"team": TEAMS[number % len(TEAMS)]}) for number, name in enumerate(names)],
        (pod(number, nodes) for number in range(pods)),
        (policy for name in names for policy in _policies(name)),
        (Node(f"node-{number}", (IPv4Address(NODES4 + number + 1),)) for number in range(nodes)),
    )


def pod(number: int, nodes: int) -> Pod:
    """The pod of that number, on one of so many nodes in turn."""
    namespace = f"team-{number // PODS_OF_A_NAMESPACE}"
    application = APPLICATIONS[number % len(APPLICATIONS)]
    return Pod(
        namespace=namespace,
        name=f"{application}-{number}",
        uid=f"uid-{number}",
        labels={"app": application, "release": str(number % 2)},
        node=f"node-{number % nodes}",
        addresses=(IPv4Address(PODS4 + number + 1), IPv6Address(PODS6 + number + 1)),
        ports=(NamedPort("http", Protocol.TCP.value, 8080 + number % 2),),
    )


def _policies(namespace: str) -> Iterator[NetworkPolicy]:
    yield _policy(namespace, "default-deny", EVERYTHING, {Direction.INGRESS: (), Direction.EGRESS: ()})
    in_namespace = SelectorPeer(_labels(app="web"), None)
    monitoring = SelectorPeer(None, _labels(team="monitoring"))
    yield _policy(
        namespace,
        "into-api",
        _labels(app="api"),
        {
            Direction.INGRESS: (
                PolicyRule((in_namespace,), (PortMatch(Protocol.TCP, "http"),)),
                PolicyRule((monitoring,), (PortMatch(Protocol.TCP, 9100),)),
            )
        },
    )
    dns = SelectorPeer(_labels(app="api"), LabelSelector(((NAME_LABEL, "team-0"),)))
    yield _policy(
        namespace,
        "out",
        EVERYTHING,
        {
            Direction.EGRESS: (
                PolicyRule((SelectorPeer(_labels(app="db"), None),), (PortMatch(Protocol.TCP, 5432),)),
                PolicyRule((dns,), (PortMatch(Protocol.UDP, 53), PortMatch(Protocol.TCP, 53))),
                PolicyRule((BEYOND,), (PortMatch(Protocol.TCP, 443, 445),)),
            )
        },
    )


def _policy(
    namespace: str, name: str, subject: LabelSelector, sides: dict[Direction, tuple[PolicyRule, ...]]
) -> NetworkPolicy:
    held = {direction: Side(rules) for direction, rules in sides.items()}
    return NetworkPolicy(namespace, name, f"uid-{namespace}-{name}", subject, held)


def _labels(**labels: str) -> LabelSelector:
    return LabelSelector(tuple(labels.items()))
