"""The two ends of a connection: a pod, a node, or something outside the cluster.

Knows who answers to an address in one cluster state. Knows nothing of policies.
"""

import re
from dataclasses import dataclass
from typing import Final

from compilers.model.cluster import Cluster, Pod
from compilers.model.faults import InvalidField
from compilers.model.selector import quoted
from compilers.model.words import Address

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")


def shown(name: str) -> str:
    """A name of the cluster fit for a terminal line: as it is when it is a plain word, else escaped and quoted."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


@dataclass(frozen=True, slots=True)
class PodEnd:
    """A pod with a network of its own, met at one of the addresses that it owns."""

    pod: Pod
    address: Address

    def __post_init__(self) -> None:
        if not self.pod.is_member or self.address not in self.pod.addresses:
            raise InvalidField(f"{self.address} is no address at which this pod can be met", ("address",))

    def __str__(self) -> str:
        return f"{shown(self.pod.namespace)}/{shown(self.pod.name)}"


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A node, or a hostNetwork pod on it: to a policy these are the same.

    Kubernetes, "Network Policies": a network plugin that "cannot properly distinguish hostNetwork pod traffic [...]
    ignores hostNetwork pods when matching podSelector and namespaceSelector. Traffic to/from hostNetwork pods is
    treated the same as all other traffic to/from the node IP. (This is the most common implementation.)"
    """

    name: str
    address: Address

    def __str__(self) -> str:
        return f"node/{shown(self.name)}"


@dataclass(frozen=True, slots=True)
class OutsideEnd:
    """An address that no pod owns and no node has."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)


End = PodEnd | NodeEnd | OutsideEnd


def end_at(cluster: Cluster, address: Address) -> End:
    """Who answers to an address: the pod that owns it, the node that has it, or something outside the cluster.

    A pod that has ended, or whose address belongs to another pod by now, answers to nothing.
    """
    pod = cluster.owners.get(address)
    if pod is not None:
        return PodEnd(pod, address)
    node = cluster.node_of_address.get(address)
    if node is not None:
        return NodeEnd(node, address)
    return OutsideEnd(address)
