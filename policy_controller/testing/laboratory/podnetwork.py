"""The seam between a laboratory and its pod network: how pods of a node connect, and how nodes reach each other's pods.

One implementation for each kind, each in a module of its own (hostgateway.py, vxlan.py, routed.py). Knows nothing of links.
"""

import enum
from typing import Protocol

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.inhabitants import Node, Pod


class NetworkKind(enum.Enum):
    """The kinds of pod network there are here, by the word that a user says."""

    BRIDGE = "bridge"
    """A bridge on each node, host routes between nodes (Flannel host-gw)."""
    VXLAN = "vxlan"
    """A bridge on each node, VXLAN between nodes (Flannel, Weave)."""
    ROUTED = "routed"
    """A routed link for each pod, host routes between nodes (Calico, kindnet, ptp)."""


class PodNetwork(Protocol):
    """One kind of pod network. Each call may block; calls for one laboratory never overlap."""

    @property
    def pod_interfaces(self) -> tuple[str, ...]:
        """On which interfaces a node meets its pods, as the enforcer's setting of that name takes them."""

    @property
    def link_prefix(self) -> str:
        """What the names of the node's ends of pod links begin with; at most seven characters."""

    def far_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses with which the node's own packets come to pods of other nodes, IPv4 first."""

    def near_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses with which the node's own packets come to its own pods, IPv4 first."""

    def prepare(self, node: Node) -> None:
        """Make the node's side of its pod network."""

    def join(self, node: Node, other: Node) -> None:
        """Teach `node` the way to the pods of `other`."""

    def attach(self, node: Node, pod: Pod) -> None:
        """Link the pod's (new, empty) namespace to the node; on return packets can flow."""

    def detach(self, node: Node, pod: Pod) -> None:
        """Cut the pod off; on return its addresses answer no more."""
