"""Routed links: each pod has a link of its own and no neighbour but its node, as Calico, kindnet and the ptp plugin have it.

The pod has its address alone on the link (/32, /128) and a default route to an address that every node's end answers for.
"""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from policy_controller.testing.laboratory.addresses import Address, Network
from policy_controller.testing.laboratory.bridged import EVERYWHERE, check_places, detach_link
from policy_controller.testing.laboratory.hostgateway import route_to_pods
from policy_controller.testing.laboratory.inhabitants import LOOPBACK, POD_INTERFACE, UPLINK, Node, Pod
from policy_controller.testing.laboratory.links import LinkEnd, Links, links_of
from policy_controller.testing.laboratory.netns import write_settings

LINK_PREFIX: Final = "cali"
NODE_MAC: Final = "ee:ee:ee:ee:ee:ee"
"""Of the node's end of every link."""
GATEWAY4: Final = IPv4Address("169.254.1.1")
GATEWAY6: Final = IPv6Address("fe80::ecee:eeff:feee:eeee")
"""What the kernel forms from NODE_MAC (RFC 4291, appendix A)."""


class RoutedLinks:
    """A veth pair for each pod that ends in the node itself, routes through the nodes' addresses."""

    pod_interfaces: Final = (f"{LINK_PREFIX}*",)
    link_prefix: Final = LINK_PREFIX

    def far_addresses(self, node: Node) -> tuple[Address, ...]:
        """The node's own: nothing on the way rewrites or hides them."""
        return node.addresses

    def near_addresses(self, node: Node) -> tuple[Address, ...]:
        """The node's own: its ends of the links have none."""
        return node.addresses

    def prepare(self, node: Node) -> None:
        """What is for no pod of the node goes nowhere; ARP for the gateway is answered on every link."""
        with links_of(node.namespace) as links:
            for network in node.pod_networks:
                links.add_blackhole(network)
            # Proxy ARP answers only for what is routed out of another link; a real node has a default route.
            links.add_route(ip_network(GATEWAY4), UPLINK)

    def join(self, node: Node, other: Node) -> None:
        """Routes through the underlay addresses of `other`."""
        route_to_pods(node, other)

    def attach(self, node: Node, pod: Pod) -> None:
        """A pair from the node to the pod's eth0, and routes to the pod's addresses out of it."""
        check_places(node, pod)
        far = LinkEnd(pod.namespace, POD_INTERFACE, pod.mac)
        name = pod.host_interface
        with links_of(node.namespace) as links:
            links.add_veth(name, far, mac=NODE_MAC)
            write_settings({f"ipv4/conf/{name}/proxy_arp": "1", f"ipv4/neigh/{name}/proxy_delay": "0"})
            for address in pod.addresses:
                links.add_route(ip_network(address), name)
            with links_of(pod.namespace) as inner:
                _configure(inner, pod)
            links.await_ready(name, (GATEWAY6,))

    def detach(self, node: Node, pod: Pod) -> None:
        """Delete the pair; its routes go with it."""
        detach_link(node, pod)


def _configure(links: Links, pod: Pod) -> None:
    links.bring_up(LOOPBACK)
    links.bring_up(POD_INTERFACE)
    gateways: tuple[Address, Address] = (GATEWAY4, GATEWAY6)
    for gateway, everywhere in zip(gateways, EVERYWHERE, strict=True):
        ours = [address for address in pod.addresses if address.version == gateway.version]
        for address in ours:
            links.add_address(POD_INTERFACE, address, address.max_prefixlen)
        if ours:
            _route_by(links, gateway, everywhere)
    links.await_ready(POD_INTERFACE, (*pod.addresses, pod.link_local))


def _route_by(links: Links, gateway: Address, everywhere: Network) -> None:
    if gateway.version == 4:
        links.add_route(ip_network(gateway), POD_INTERFACE)
    links.add_route(everywhere, POD_INTERFACE, gateway)
