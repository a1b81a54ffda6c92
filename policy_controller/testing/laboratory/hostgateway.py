"""Bridge and host routes: each node knows the way to the others' pods by their addresses, as Flannel's host-gw has it."""

from typing import Final

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.bridged import BRIDGE, attach_to_bridge, detach_link, make_bridge
from policy_controller.testing.laboratory.inhabitants import UPLINK, Node, Pod
from policy_controller.testing.laboratory.links import links_of


def route_to_pods(node: Node, other: Node) -> None:
    """Routes to the podCIDRs of `other` through its underlay addresses."""
    with links_of(node.namespace) as links:
        for network, gateway in zip(other.pod_networks, other.addresses, strict=True):
            links.add_route(network, UPLINK, gateway)


class HostGatewayBridge:
    """A bridge `cni0` for each node, veth pairs to its pods, routes through the nodes' addresses."""

    pod_interfaces: Final = (BRIDGE,)
    link_prefix: Final = "veth"

    def far_addresses(self, node: Node) -> tuple[Address, ...]:
        """The node's own: nothing on the way rewrites or hides them."""
        return node.addresses

    def near_addresses(self, node: Node) -> tuple[Address, ...]:
        """Those of the bridge."""
        return node.gateways

    def prepare(self, node: Node) -> None:
        """Make the bridge."""
        make_bridge(node)

    def join(self, node: Node, other: Node) -> None:
        """Routes through the underlay addresses of `other`."""
        route_to_pods(node, other)

    def attach(self, node: Node, pod: Pod) -> None:
        """A port of the bridge."""
        attach_to_bridge(node, pod)

    def detach(self, node: Node, pod: Pod) -> None:
        """Delete the port."""
        detach_link(node, pod)
