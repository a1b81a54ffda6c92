"""How the pods of a node connect, and how nodes reach each other's pods.

`PodNetwork` is the seam: one implementation for each kind of pod network. Here: a Linux bridge for
each node and host routes between nodes, as Flannel's host-gw makes it. Knows the links of one node;
knows nothing of laboratories, lives or names.
"""

import enum
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Final, Protocol

from policy_controller.testing.laboratory.addresses import Network
from policy_controller.testing.laboratory.inhabitants import LOOPBACK, POD_INTERFACE, UPLINK, Node, Pod
from policy_controller.testing.laboratory.links import LinkEnd, links_of
from policy_controller.testing.laboratory.netns import LaboratoryError, write_settings

BRIDGE: Final = "cni0"
EVERYWHERE: Final[tuple[Network, ...]] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class NetworkKind(enum.Enum):
    """The kinds of pod network there are here, by the word that a user says."""

    BRIDGE = "bridge"
    """A bridge on each node, host routes between nodes (Flannel host-gw)."""


class PodNetwork(Protocol):
    """One kind of pod network. Each call may block; calls for one laboratory never overlap."""

    @property
    def pod_interfaces(self) -> tuple[str, ...]:
        """On which interfaces a node meets its pods, as the enforcer's setting of that name takes them."""

    def prepare(self, node: Node) -> None:
        """Make the node's side of its pod network."""

    def join(self, node: Node, other: Node) -> None:
        """Teach `node` the way to the pods of `other`."""

    def attach(self, node: Node, pod: Pod) -> None:
        """Link the pod's (new, empty) namespace to the node; on return packets can flow."""

    def detach(self, node: Node, pod: Pod) -> None:
        """Cut the pod off; on return its addresses answer no more."""


class HostGatewayBridge:
    """A bridge `cni0` for each node, veth pairs to its pods, routes through the nodes' addresses."""

    pod_interfaces: Final = (BRIDGE,)

    def prepare(self, node: Node) -> None:
        """Make cni0 with the gateway addresses; bridged packets pass the node's IP hooks."""
        with links_of(node.namespace) as links:
            links.add_bridge(BRIDGE, node.gateway_mac)
            for gateway, network in zip(node.gateways, node.pod_networks, strict=True):
                links.add_address(BRIDGE, gateway, network.prefixlen)
            write_settings({"bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1"})

    def join(self, node: Node, other: Node) -> None:
        """A route to each podCIDR of `other` through its underlay address."""
        with links_of(node.namespace) as links:
            for network, gateway in zip(other.pod_networks, other.addresses, strict=True):
                links.add_route(network, UPLINK, gateway)

    def attach(self, node: Node, pod: Pod) -> None:
        """A veth pair from cni0 to the pod's eth0, in hairpin mode as Flannel sets it."""
        for address in pod.addresses:
            if not any(address in network for network in node.pod_networks):
                raise LaboratoryError(f"{address} is in no pod network of node {node.name}")
        far = LinkEnd(pod.namespace, POD_INTERFACE, pod.mac)
        with links_of(node.namespace) as links:
            links.add_veth(pod.host_interface, BRIDGE, far)
            links.let_hairpin(pod.host_interface)
            self._configure(node, pod)
            links.await_ready(pod.host_interface, ())
            links.await_ready(BRIDGE, (*node.gateways, node.link_local))
        with links_of(pod.namespace) as links:
            links.announce(POD_INTERFACE, pod.mac)

    def _configure(self, node: Node, pod: Pod) -> None:
        with links_of(pod.namespace) as links:
            links.bring_up(LOOPBACK)
            links.bring_up(POD_INTERFACE)
            for network, gateway, everywhere in zip(
                node.pod_networks, node.gateways, EVERYWHERE, strict=True
            ):
                ours = [address for address in pod.addresses if address.version == network.version]
                for address in ours:
                    links.add_address(POD_INTERFACE, address, network.prefixlen)
                if ours:
                    links.add_route(everywhere, POD_INTERFACE, gateway)
            links.await_ready(POD_INTERFACE, (*pod.addresses, pod.link_local))

    def detach(self, node: Node, pod: Pod) -> None:
        """Delete the pair from the node's side."""
        with links_of(node.namespace) as links:
            links.delete(pod.host_interface)


POD_NETWORKS: Final[Mapping[NetworkKind, Callable[[], PodNetwork]]] = {NetworkKind.BRIDGE: HostGatewayBridge}
"""What makes each kind."""
