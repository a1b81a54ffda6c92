"""Bridge and VXLAN: packets to other nodes' pods travel in UDP between the nodes, as Flannel's vxlan has it.

One device for each family, as Flannel makes them: `flannel.1` and `flannel-v6.1`, each with the network address of the
node's podCIDR. Other nodes' devices are named by permanent neighbour and forwarding entries; nothing is learned.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from policy_controller.testing.laboratory.addresses import Address, Network, hardware_address
from policy_controller.testing.laboratory.bridged import BRIDGE, attach_to_bridge, detach_link, make_bridge
from policy_controller.testing.laboratory.inhabitants import UPLINK, Node, Pod
from policy_controller.testing.laboratory.links import Tunnel, links_of

VNI: Final = 1
UDP_PORT: Final = 8472
"""Linux's own, and so Flannel's; RFC 7348 has 4789."""
MTU: Final = 1430
"""1500 less the headers of Ethernet, VXLAN, UDP and IPv6 around a packet; over IPv4 alone 20 more would fit."""
TUNNEL_MAC_KIND: Final = 0x5C


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node's end of the tunnels of one family: the device, its address and MAC, and where it is on the underlay."""

    device: str
    address: Address
    mac: str
    underlay: Address
    pods: Network


def endpoints_of(node: Node) -> tuple[Endpoint, Endpoint]:
    """Of IPv4 and of IPv6."""
    ipv4, ipv6 = (
        Endpoint(
            device=device,
            address=ip_address(int(pods.network_address)) if pods.version == 4 else pods.network_address,
            mac=hardware_address(pods.network_address, TUNNEL_MAC_KIND),
            underlay=underlay,
            pods=pods,
        )
        for device, pods, underlay in zip(
            ("flannel.1", "flannel-v6.1"), node.pod_networks, node.addresses, strict=True
        )
    )
    return ipv4, ipv6


class VxlanBridge:
    """A bridge `cni0` for each node, veth pairs to its pods, VXLAN devices between nodes."""

    pod_interfaces: Final = (BRIDGE,)
    link_prefix: Final = "veth"

    def far_addresses(self, node: Node) -> tuple[Address, ...]:
        """Those of its tunnel devices: the kernel takes the address of the device that the route names."""
        return tuple(endpoint.address for endpoint in endpoints_of(node))

    def near_addresses(self, node: Node) -> tuple[Address, ...]:
        """Those of the bridge."""
        return node.gateways

    def prepare(self, node: Node) -> None:
        """Make the bridge and the tunnel devices."""
        make_bridge(node, MTU)
        with links_of(node.namespace) as links:
            for endpoint in endpoints_of(node):
                tunnel = Tunnel(VNI, UDP_PORT, UPLINK, endpoint.underlay, MTU)
                links.add_vxlan(endpoint.device, endpoint.mac, tunnel)
                links.add_address(endpoint.device, endpoint.address, endpoint.address.max_prefixlen)

    def join(self, node: Node, other: Node) -> None:
        """Routes through the tunnel address of `other`, whose MAC and place on the underlay are told."""
        with links_of(node.namespace) as links:
            for endpoint in endpoints_of(other):
                links.add_neighbour(endpoint.device, endpoint.address, endpoint.mac)
                links.add_forwarding(endpoint.device, endpoint.mac, endpoint.underlay)
                links.add_route_on_link(endpoint.pods, endpoint.device, endpoint.address)

    def attach(self, node: Node, pod: Pod) -> None:
        """A port of the bridge, with room for the headers of the tunnel."""
        attach_to_bridge(node, pod, MTU)

    def detach(self, node: Node, pod: Pod) -> None:
        """Delete the port."""
        detach_link(node, pod)
