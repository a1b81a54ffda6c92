"""A Linux bridge `cni0` on a node and veth pairs from it to the node's pods, as the bridge plugin of CNI makes them.

Knows the links of one node. Knows nothing of the way between nodes.
"""

from ipaddress import ip_network
from typing import Final

from policy_controller.testing.laboratory.addresses import Network
from policy_controller.testing.laboratory.inhabitants import LOOPBACK, POD_INTERFACE, Node, Pod
from policy_controller.testing.laboratory.links import LinkEnd, links_of
from policy_controller.testing.laboratory.netns import LaboratoryError, write_settings

BRIDGE: Final = "cni0"
EVERYWHERE: Final[tuple[Network, ...]] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def make_bridge(node: Node, mtu: int | None = None) -> None:
    """Make cni0 with the gateway addresses; bridged packets pass the node's IP hooks."""
    with links_of(node.namespace) as links:
        links.add_bridge(BRIDGE, node.gateway_mac)
        if mtu is not None:
            links.set_mtu(BRIDGE, mtu)
        for gateway, network in zip(node.gateways, node.pod_networks, strict=True):
            links.add_address(BRIDGE, gateway, network.prefixlen)
        write_settings({"bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1"})


def attach_to_bridge(node: Node, pod: Pod, mtu: int | None = None) -> None:
    """A veth pair from cni0 to the pod's eth0, in hairpin mode as Flannel sets it."""
    check_places(node, pod)
    far = LinkEnd(pod.namespace, POD_INTERFACE, pod.mac)
    with links_of(node.namespace) as links:
        links.add_veth(pod.host_interface, far, BRIDGE)
        if mtu is not None:
            links.set_mtu(pod.host_interface, mtu)
        links.let_hairpin(pod.host_interface)
        _configure(node, pod, mtu)
        links.await_ready(pod.host_interface, ())
        links.await_ready(BRIDGE, (*node.gateways, node.link_local))
    with links_of(pod.namespace) as links:
        links.announce(POD_INTERFACE, pod.mac)


def check_places(node: Node, pod: Pod) -> None:
    """Raise LaboratoryError unless each address of the pod is in a pod network of the node."""
    for address in pod.addresses:
        if not any(address in network for network in node.pod_networks):
            raise LaboratoryError(f"{address} is in no pod network of node {node.name}")


def detach_link(node: Node, pod: Pod) -> None:
    """Delete the pod's pair from the node's side."""
    with links_of(node.namespace) as links:
        links.delete(pod.host_interface)


def _configure(node: Node, pod: Pod, mtu: int | None) -> None:
    with links_of(pod.namespace) as links:
        links.bring_up(LOOPBACK)
        if mtu is not None:
            links.set_mtu(POD_INTERFACE, mtu)
        links.bring_up(POD_INTERFACE)
        for network, gateway, everywhere in zip(node.pod_networks, node.gateways, EVERYWHERE, strict=True):
            ours = [address for address in pod.addresses if address.version == network.version]
            for address in ours:
                links.add_address(POD_INTERFACE, address, network.prefixlen)
            if ours:
                links.add_route(everywhere, POD_INTERFACE, gateway)
        links.await_ready(POD_INTERFACE, (*pod.addresses, pod.link_local))
