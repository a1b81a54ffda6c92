"""A cluster of the model as the API objects it would have been read from.

Knows the API's JSON. Absent stays absent and empty stays empty; a side that could not be read becomes a side that
cannot be read.
"""

from collections.abc import Iterable
from typing import Any

from compilers.model.block import IpBlock
from compilers.model.cluster import DEFAULT_ACCOUNT, Cluster, Ending, Namespace, Node, Pod, PodNetwork
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import LabelSelector
from compilers.model.words import Direction

Json = dict[str, Any]

UNREADABLE_SELECTOR: Json = {"matchExpressions": [{"key": "app", "operator": "In", "values": []}]}
"""API: "If the operator is In or NotIn, the values array must be non-empty"."""


def api_objects(cluster: Cluster) -> list[Json]:
    """Namespaces, Nodes, Pods and NetworkPolicies, in an order in which they can be created."""
    return [
        *(_namespace(item) for item in cluster.namespaces.values()),
        *(_node(item) for item in cluster.nodes.values()),
        *(_pod(item) for item in cluster.pods),
        *(_policy(item) for item in cluster.policies),
    ]


def _namespace(item: Namespace) -> Json:
    metadata = {"name": item.name, "labels": dict(item.labels)} | ({"uid": item.uid} if item.uid else {})
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _node(item: Node) -> Json:
    addresses = [{"type": "InternalIP", "address": str(address)} for address in item.addresses]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": item.name},
        "status": {"addresses": [*addresses, {"type": "Hostname", "address": item.name}]},
    }


def _pod(item: Pod) -> Json:
    metadata: Json = {
        "namespace": item.namespace,
        "name": item.name,
        "uid": item.uid,
        "labels": dict(item.labels),
    }
    if item.created:
        metadata["creationTimestamp"] = item.created
    if item.ending is Ending.TERMINATING:
        metadata["deletionTimestamp"] = "2024-06-01T00:00:00Z"
    if item.workload is not None:
        owner = {"apiVersion": "apps/v1", "kind": item.workload.kind, "name": item.workload.name}
        metadata["ownerReferences"] = [owner | {"uid": f"uid-{item.workload.name}", "controller": True}]
    spec: Json = {"containers": _containers(item.ports)}
    if item.account != DEFAULT_ACCOUNT:
        spec["serviceAccountName"] = item.account
    if item.node is not None:
        spec["nodeName"] = item.node
    if item.network is PodNetwork.HOST:
        spec["hostNetwork"] = True
    status: Json = {"phase": item.phase.value}
    if item.addresses:
        status["podIP"] = str(item.addresses[0])
        status["podIPs"] = [{"ip": str(address)} for address in item.addresses]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _containers(ports: Iterable[NamedPort]) -> list[Json]:
    """One container a port: a name may not repeat within a container, and may in the pod."""
    named = [
        {"name": port.name, "containerPort": port.number, "protocol": port.protocol.value} for port in ports
    ]
    lists = [[port] for port in named] or [[]]
    return [
        {"name": f"c{index}", "image": "registry.example/app:1"} | ({"ports": found} if found else {})
        for index, found in enumerate(lists)
    ]


def _policy(item: NetworkPolicy) -> Json:
    subject = UNREADABLE_SELECTOR if item.subject is None else _selector(item.subject)
    directions = [direction for direction in Direction if direction in item.sides]
    spec: Json = {"podSelector": subject, "policyTypes": [direction.value for direction in directions]}
    for direction in directions:
        spec[direction.field] = _side(item, item.sides[direction], direction)
    metadata = {"namespace": item.namespace, "name": item.name, "uid": item.uid}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _side(policy: NetworkPolicy, side: Side, direction: Direction) -> list[Json]:
    if side.faults and policy.subject is not None:
        # A peer with nothing: the API server says it "must specify a peer".
        return [{direction.peer_field: [{}]}]
    return [_rule(rule, direction) for rule in side.rules]


def _rule(rule: PolicyRule, direction: Direction) -> Json:
    shown: Json = {}
    if rule.peers is not None:
        shown[direction.peer_field] = [_peer(peer) for peer in rule.peers]
    if rule.ports is not None:
        shown["ports"] = [_port(port) for port in rule.ports]
    return shown


def _peer(peer: Peer) -> Json:
    if isinstance(peer, IpBlock):
        block: Json = {"cidr": str(peer.cidr)}
        if peer.excepts:
            block["except"] = [str(hole) for hole in peer.excepts]
        return {"ipBlock": block}
    shown: Json = {}
    if peer.namespace_selector is not None:
        shown["namespaceSelector"] = _selector(peer.namespace_selector)
    if peer.pod_selector is not None:
        shown["podSelector"] = _selector(peer.pod_selector)
    return shown


def _selector(selector: LabelSelector) -> Json:
    shown: Json = {}
    if selector.match_labels:
        shown["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        shown["matchExpressions"] = [
            {"key": item.key, "operator": item.operator.value}
            | ({"values": list(item.values)} if item.values else {})
            for item in selector.match_expressions
        ]
    return shown


def _port(port: PortMatch) -> Json:
    shown: Json = {"protocol": port.protocol.value}
    if port.port is not None:
        shown["port"] = port.port
    if port.end_port is not None:
        shown["endPort"] = port.end_port
    return shown
