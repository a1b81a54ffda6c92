"""Five pods of three namespaces, on two nodes, and policies that are tried on them one after the other.

Knows labels and ports. Which connection each policy lets through is for the reference evaluator to say.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import ICMP, traffic_between
from compilers.model.cluster import Cluster
from compilers.model.port import NamedPort
from compilers.model.words import Protocol, family_of
from e2e.agents import Agent, AgentPod
from e2e.examples import Row, Site

Json = dict[str, Any]

X, Y, Z = "e2e-x", "e2e-y", "e2e-z"
NAMESPACES: Final[Mapping[str, Mapping[str, str]]] = {X: {"team": "x"}, Y: {"team": "y"}, Z: {"team": "z"}}
PODS: Final = ((X, "a", 0), (X, "b", 1), (Y, "a", 1), (Y, "b", 0), (Z, "a", 0))
"""Namespace, name, and which node."""

PORTS: Final = ((Protocol.TCP, 80), (Protocol.TCP, 81), (Protocol.UDP, 80), (Protocol.SCTP, 80))
WATCHED: Final = ((Protocol.TCP, 80), (Protocol.UDP, 83))
"""What is asked all the time. UDP by a port that nobody asks otherwise: a node remembers a conversation of UDP for minutes, and lets
a later one of the same two ports pass as its continuation, whatever policy has come since."""

NAMED: Final = NamedPort("serve-81", "TCP", 81)


def pods(site: Site) -> list[AgentPod]:
    return [
        AgentPod(namespace, name, site.nodes[node], {"pod": name}, frozenset((*PORTS, *WATCHED)), (NAMED,))
        for namespace, name, node in PODS
    ]


def policy(spec: Json, namespace: str = X) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": "under-test"},
        "spec": {"podSelector": {"matchLabels": {"pod": "a"}}, **spec},
    }


def team(*names: str) -> Json:
    return {
        "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": list(names)}]}
    }


def pod(name: str) -> Json:
    return {"podSelector": {"matchLabels": {"pod": name}}}


POLICIES: Final[Mapping[str, Json]] = {
    "deny-ingress": policy({"policyTypes": ["Ingress"]}),
    "deny-egress": policy({"policyTypes": ["Egress"]}),
    "deny-both-of-the-namespace": policy({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
    "allow-all": policy({"ingress": [{}]}),
    "own-namespace": policy({"ingress": [{"from": [{"podSelector": {}}]}]}),
    "other-namespaces": policy({"ingress": [{"from": [team("y", "z")]}]}),
    "namespace-and-pod": policy({"ingress": [{"from": [{**team("y"), **pod("b")}]}]}),
    "namespace-or-pod": policy({"ingress": [{"from": [team("z"), pod("b")]}]}),
    "named-port": policy({"ingress": [{"ports": [{"port": NAMED.name}]}]}),
    "port-range": policy({"ingress": [{"ports": [{"port": 81, "endPort": 90}]}]}),
    "udp-only": policy({"ingress": [{"ports": [{"protocol": "UDP", "port": 80}]}]}),
    "sctp-only": policy({"ingress": [{"ports": [{"protocol": "SCTP", "port": 80}]}]}),
    "egress-to-a-port-elsewhere": policy(
        {"policyTypes": ["Egress"], "egress": [{"to": [team("y")], "ports": [{"port": 80}]}]}
    ),
    "one-family": policy({"ingress": [{"from": [{"ipBlock": {"cidr": "::/0"}}]}]}),
}
USUAL: Final = ("deny-both-of-the-namespace", "namespace-or-pod", "named-port", "egress-to-a-port-elsewhere")
"""Those that every run tries."""


def rows(
    cluster: Cluster, agents: Mapping[str, Agent], ports: Sequence[tuple[Protocol, int]] = PORTS
) -> Iterator[Row]:
    """Every pair of pods, every port and an echo request, in every family that both speak; as the evaluator judges it."""
    for source, destination in itertools.permutations(sorted(agents), 2):
        for own, other in itertools.product(agents[source].addresses, agents[destination].addresses):
            if own.version != other.version:
                continue
            asked: list[tuple[Protocol | int, int | None]] = [*ports, (ICMP[family_of(own)], None)]
            for protocol, port in asked:
                traffic = traffic_between(cluster, own, other, protocol, port)
                verdict = judge(cluster, traffic).verdict
                text = f"{traffic}, {verdict.value}"
                yield Row(source, destination, traffic.family, protocol, port, verdict, text)
