"""On which interfaces this node meets its pods: detected from the links it has, when nobody says it.

Knows what pod networks call their links. Knows no kernel: links come in as values (surroundings.py reads them).
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final


class LinkKind(enum.Enum):
    """What a link is, as far as it matters here."""

    BRIDGE = "bridge"
    VETH = "veth"
    OTHER = "other"


class Place(enum.Enum):
    """Whether a link stands by itself or is a port of another (a bridge)."""

    FREE = "free"
    PORT = "port"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A link of the node's network namespace."""

    name: str
    kind: LinkKind
    place: Place = Place.FREE


BRIDGES: Final = ("cbr0", "cni0", "kube-bridge", "weave")
"""Bridges of Flannel and the CNI bridge plugin, kubenet, kube-router and Weave. Not docker0: no pods are there."""

ROUTED: Final = ("azv*", "cali*", "eni*", "gke*")
"""Host ends of pods that are routed, each to its own: Azure, Calico, AWS, Google. No other software uses these names."""

ROUTED_IF_SEEN: Final = ("lxc*", "veth*")
"""Names that other software uses too: they count only where such a link stands by itself and no pod bridge is there."""


def detect(links: Iterable[Link]) -> tuple[str, ...]:
    """Patterns of interface names as BaseSettings takes them, sorted.

    Names that only pods have are always among them, so that a pod network which is set up later is covered as well; for
    others late_interfaces.py goes on looking.
    """
    held = tuple(links)
    patterns = {*BRIDGES, *ROUTED}
    if not any(link.kind is LinkKind.BRIDGE and link.name in BRIDGES for link in held):
        patterns |= {
            pattern
            for pattern in ROUTED_IF_SEEN
            for link in held
            if link.kind is LinkKind.VETH and link.place is Place.FREE and fnmatchcase(link.name, pattern)
        }
    return tuple(sorted(patterns))


def pod_bridges(links: Iterable[Link], patterns: Iterable[str]) -> tuple[str, ...]:
    """The bridges among the links that the patterns mean, sorted."""
    held = tuple(patterns)
    return tuple(
        sorted(
            link.name
            for link in links
            if link.kind is LinkKind.BRIDGE and any(fnmatchcase(link.name, pattern) for pattern in held)
        )
    )
