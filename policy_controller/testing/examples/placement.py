"""Placement: nodes and addresses for pods whose files give them none.

Knows the laboratory's address plan. The same cluster is always placed the same way, so that an example's addresses can
be written down. Knows nothing of policies.
"""

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Final

from compilers.evaluate.ends import shown
from compilers.model.cluster import Cluster, Node, Phase, Pod, PodNetwork
from compilers.model.words import Address
from policy_controller.testing.laboratory.addresses import node_addresses, pod_networks

MOST_NODES: Final = 20
FIRST_HOST: Final = 11
LAST_HOST: Final = 254
"""Host numbers of pods in both families: 10.244.1.11 and fd10:244:1::b are one pod's."""


class PlacementError(ValueError):
    """A pod cannot be given a place; the text names the pod, says why and how to mend it."""


def node_names(count: int) -> tuple[str, ...]:
    """The names of so many nodes, `node-a` first. Raises PlacementError for none and for more than MOST_NODES."""
    if not 1 <= count <= MOST_NODES:
        raise PlacementError(f"{count} nodes: must be between 1 and {MOST_NODES}")
    return tuple(f"node-{letter}" for letter in ascii_lowercase[:count])


NODES: Final = node_names(2)
"""Where examples are placed."""


def place(cluster: Cluster, nodes: Sequence[str] = NODES) -> Cluster:
    """The cluster with a node and addresses for every running pod that has none.

    Nodes are dealt round robin in the order of namespace and name; the n-th node (from 1) has 172.31.0.(10+n) and
    fd31::(10+n), its pods 10.244.n.11 and fd10:244:n::b and so on. What a file says of nodes and addresses stays.
    Raises PlacementError for a pod without addresses on a node that is not among `nodes`, and when a node is full.
    """
    known = {
        name: Node(name, _said(cluster, name) or node_addresses(index))
        for index, name in enumerate(nodes, start=1)
    }
    taken = {address for pod in cluster.pods for address in pod.addresses}
    pods: list[Pod] = []
    dealt = 0
    for pod in cluster.pods:
        placed = pod
        if placed.phase is Phase.RUNNING and placed.node is None:
            placed = replace(placed, node=nodes[dealt % len(nodes)])
            dealt += 1
        if placed.phase is Phase.RUNNING and not placed.addresses:
            placed = replace(placed, addresses=_addresses(placed, nodes, known, taken))
            taken |= set(placed.addresses)
        pods.append(placed)
    return Cluster.of(
        cluster.namespaces.values(),
        pods,
        cluster.policies,
        (dict(cluster.nodes) | known).values(),
        cluster.operator,
    )


def _said(cluster: Cluster, name: str) -> tuple[Address, ...]:
    return cluster.nodes[name].addresses if name in cluster.nodes else ()


def _addresses(
    pod: Pod, nodes: Sequence[str], known: dict[str, Node], taken: set[Address]
) -> tuple[Address, ...]:
    name = f"pod {shown(pod.namespace)}/{shown(pod.name)}"
    if pod.node not in known:
        raise PlacementError(
            f"{name}: it has no addresses, and its node {shown(pod.node or '')} is none of {', '.join(nodes)}; "
            "leave out spec.nodeName or name one of these"
        )
    if pod.network is PodNetwork.HOST:
        return known[pod.node].addresses
    networks = pod_networks(1 + nodes.index(pod.node))
    for host in range(FIRST_HOST, LAST_HOST + 1):
        addresses: tuple[Address, ...] = tuple(network[host] for network in networks)
        if not taken & set(addresses):
            return addresses
    raise PlacementError(f"{name}: its node {pod.node} has {LAST_HOST - FIRST_HOST + 1} pods already")
