"""The stage of the evaluator's tests: two namespaces, five pods, two nodes, and short ways to write policies.

Knows the model and the evaluator's entry. Knows no expected verdict.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final

from compilers.evaluate.decision import Decision
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import ICMP, traffic_between
from compilers.model.block import IpBlock
from compilers.model.cluster import Cluster, Namespace, Node, Pod
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector, Operator, Requirement
from compilers.model.words import Address, Direction, Family, Protocol

NODES: Final = (
    Node("node-a", (ip_address("172.31.0.11"), ip_address("fd31::b"))),
    Node("node-b", (ip_address("172.31.0.12"), ip_address("fd31::c"))),
)
NAMESPACES: Final = (Namespace("shop", {"team": "shop"}), Namespace("ops", {"team": "ops"}))
OUTSIDE: Final = ("203.0.113.9", "2001:db8:cafe::9")
HTTP: Final = NamedPort("http", "TCP", 80)


def pod(
    path: str,
    labels: Mapping[str, str],
    node: str,
    host: int,
    ports: Iterable[NamedPort] = (),
) -> Pod:
    """A dual-stack pod `namespace/name` of a node, with this host number in both families."""
    namespace, name = path.split("/")
    index = 1 if node == "node-a" else 2
    addresses = (ip_address(f"10.244.{index}.{host}"), ip_address(f"fd10:244:{index}::{host}"))
    return Pod(namespace, name, f"uid-{namespace}-{name}", dict(labels), node, addresses, tuple(ports))


PODS: Final = (
    pod("shop/web", {"app": "web", "env": "prod"}, "node-a", 11, [HTTP]),
    pod("shop/api", {"app": "api", "env": "prod"}, "node-b", 11, [NamedPort("http", "TCP", 8080)]),
    pod("shop/db", {"app": "db"}, "node-a", 12),
    pod("ops/web", {"app": "web"}, "node-b", 12, [HTTP]),
    pod("ops/scraper", {"app": "scraper"}, "node-a", 13),
)


def cluster(*policies: NetworkPolicy, pods: Iterable[Pod] = PODS) -> Cluster:
    """The stage with these policies."""
    return Cluster.of(NAMESPACES, pods, policies, NODES)


def changed(path: str, **fields: object) -> tuple[Pod, ...]:
    """The pods of the stage, with other values in these fields of one of them."""
    return tuple(replace(pod, **fields) if _path(pod) == path else pod for pod in PODS)  # type: ignore[arg-type] # field values are the caller's


def _path(item: Pod) -> str:
    return f"{item.namespace}/{item.name}"


def labels(text: str) -> LabelSelector:
    """A selector of labels `app=web,env=prod`; the empty text is the empty selector."""
    return LabelSelector(
        tuple((key, value) for key, _, value in (p.partition("=") for p in text.split(",") if p))
    )


def requires(key: str, operator: Operator, *values: str) -> LabelSelector:
    """A selector of one expression."""
    return LabelSelector(match_expressions=(Requirement(key, operator, values),))


def pods(text: str) -> SelectorPeer:
    """A peer of podSelector alone."""
    return SelectorPeer(labels(text), None)


def spaces(text: str, pod_labels: str | None = None) -> SelectorPeer:
    """A peer of namespaceSelector, alone or with podSelector."""
    return SelectorPeer(None if pod_labels is None else labels(pod_labels), labels(text))


def block(cidr: str, *excepts: str) -> IpBlock:
    """A peer of ipBlock."""
    return IpBlock(ip_network(cidr), tuple(ip_network(hole) for hole in excepts))


def port(text: str) -> PortMatch:
    """An entry of ports: `TCP`, `TCP 80`, `TCP 80-90` or `TCP http`."""
    protocol, _, number = text.partition(" ")
    first, _, last = number.partition("-")
    value = int(first) if first.isdigit() else first or None
    return PortMatch(Protocol(protocol), value, int(last) if last else None)


def rule(peers: Iterable[Peer] | None = None, ports: Iterable[str] | None = None) -> PolicyRule:
    """A rule; None is absent."""
    return PolicyRule(
        None if peers is None else tuple(peers),
        None if ports is None else tuple(port(text) for text in ports),
    )


def policy(
    path: str,
    subject: LabelSelector | None = EVERYTHING,
    ingress: Iterable[PolicyRule] | Side | None = None,
    egress: Iterable[PolicyRule] | Side | None = None,
) -> NetworkPolicy:
    """A policy `namespace/name` that isolates in the directions given."""
    namespace, name = path.split("/")
    given = {Direction.INGRESS: ingress, Direction.EGRESS: egress}
    sides = {
        direction: side if isinstance(side, Side) else Side(tuple(side))
        for direction, side in given.items()
        if side is not None
    }
    return NetworkPolicy(namespace, name, f"uid-{path}", subject, sides)


def decide(state: Cluster, source: str, destination: str, service: str) -> tuple[Decision, ...]:
    """The decisions in each family that both ends have; `service` is `TCP 80` or `ICMP`."""
    decisions = []
    for family in Family:
        sender, receiver = _address(state, source, family), _address(state, destination, family)
        if sender is not None and receiver is not None:
            protocol, _, number = service.partition(" ")
            kind = ICMP[family] if protocol == "ICMP" else Protocol(protocol)
            decisions.append(
                judge(state, traffic_between(state, sender, receiver, kind, int(number) if number else None))
            )
    assert decisions, f"{source} and {destination} have no family in common"
    return tuple(decisions)


def verdict(state: Cluster, source: str, destination: str, service: str) -> str:
    """The verdict's word, which must be the same in each family."""
    words = {decision.verdict.value for decision in decide(state, source, destination, service)}
    assert len(words) == 1, f"{source} -> {destination}: the families differ"
    return words.pop()


def _address(state: Cluster, end: str, family: Family) -> Address | None:
    """The address of a pod `namespace/name`, of a node, of `outside`, or an address as it is written."""
    if end == "outside":
        found: tuple[Address, ...] = tuple(map(ip_address, OUTSIDE))
    elif end in state.nodes:
        found = state.nodes[end].addresses
    elif "/" in end:
        found = next(item.addresses for item in state.pods if _path(item) == end)
    else:
        found = (ip_address(end),)
    return next((address for address in found if address.version == family.value), None)
