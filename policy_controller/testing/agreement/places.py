"""Who lives where on a stage: the namespaces that the packets of clusters need.

Knows which addresses belong together. Makes nothing: see packets.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from compilers.model.cluster import Cluster, PodNetwork
from compilers.model.words import Address

OUTSIDE: Final = "outside"


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace: its name, the node it hangs on (None: outside the cluster) and its addresses."""

    name: str
    node: str | None
    addresses: tuple[Address, ...]


def pod_places(clusters: Iterable[Cluster]) -> tuple[Place, ...]:
    """A place for each pod of the clusters; pods that share an address, in one cluster or in two, share the place."""
    places: dict[frozenset[Address], str] = {}
    for cluster in clusters:
        for pod in cluster.pods:
            if pod.node is None or pod.network is PodNetwork.HOST or not pod.addresses:
                continue
            shared = [known for known in places if known & frozenset(pod.addresses)]
            for known in shared:
                del places[known]
            places[frozenset(pod.addresses).union(*shared)] = pod.node
    return tuple(
        sorted(
            (_place(addresses, node) for addresses, node in places.items()),
            key=lambda place: place.name,
        )
    )


def outside(addresses: Iterable[Address]) -> Place:
    """One host beyond the nodes that has all of these addresses."""
    return Place(OUTSIDE, None, _ordered(addresses))


def _place(addresses: Iterable[Address], node: str) -> Place:
    ordered = _ordered(addresses)
    return Place(f"pod-{str(ordered[0]).replace(':', '-')}", node, ordered)


def _ordered(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(set(addresses), key=lambda address: (address.version, int(address))))
