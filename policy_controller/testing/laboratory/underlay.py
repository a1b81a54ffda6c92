"""The underlay: the one network segment that links nodes and the hosts outside.

Knows links, addresses and routes between nodes and outside hosts. Knows nothing of pods but their networks.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Self

from policy_controller.testing.laboratory.addresses import (
    PODS4,
    PODS6,
    UNDERLAY4,
    UNDERLAY6,
    hardware_address,
)
from policy_controller.testing.laboratory.inhabitants import LOOPBACK, UPLINK, Node, OutsideHost
from policy_controller.testing.laboratory.links import LinkEnd, links_of
from policy_controller.testing.laboratory.netns import LaboratoryError, create, inside, write_settings

BRIDGE: Final = "underlay"
BRIDGE_MAC: Final = "0a:5c:00:00:00:01"
NODE_MAC_KIND: Final = 0x5A
OUTSIDE_MAC_KIND: Final = 0x5B

ROUTER: Final[Mapping[str, str]] = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/forwarding": "1",
}
"""For nodes."""


MASQUERADE: Final = f"""
table inet laboratory-masquerade {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{UPLINK}" ip saddr {PODS4} ip daddr != {{ {PODS4}, {UNDERLAY4} }} masquerade
    oifname "{UPLINK}" ip6 saddr {PODS6} ip6 daddr != {{ {PODS6}, {UNDERLAY6} }} masquerade
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Underlay:
    """A namespace with one bridge to which every node and outside host has a link."""

    namespace: str

    @classmethod
    def make(cls, namespace: str) -> Self:
        """Make the namespace and its bridge."""
        create(namespace)
        with links_of(namespace) as links:
            links.add_bridge(BRIDGE, BRIDGE_MAC)
        return cls(namespace)

    def connect_node(self, node: Node) -> None:
        """Link a node's (new) namespace, with its addresses, as a router."""
        with inside(node.namespace):
            write_settings(ROUTER)
        mac = hardware_address(node.ipv4, NODE_MAC_KIND)
        self._connect(f"node{node.index}", LinkEnd(node.namespace, UPLINK, mac))
        with links_of(node.namespace) as links:
            links.bring_up(LOOPBACK)
            links.bring_up(UPLINK)
            links.add_address(UPLINK, node.ipv4, UNDERLAY4.prefixlen)
            links.add_address(UPLINK, node.ipv6, UNDERLAY6.prefixlen)
            links.await_ready(UPLINK, node.addresses)
        self._await_port(f"node{node.index}")

    def connect_outside(self, host: OutsideHost, number: int) -> None:
        """Link an outside host's (new) namespace, with all its addresses; `number` counts from 0."""
        mac = hardware_address(host.addresses[0], OUTSIDE_MAC_KIND)
        self._connect(f"outside{number}", LinkEnd(host.namespace, UPLINK, mac))
        with links_of(host.namespace) as links:
            links.bring_up(LOOPBACK)
            links.bring_up(UPLINK)
            for address in host.addresses:
                links.add_address(UPLINK, address, address.max_prefixlen)
            for network in (UNDERLAY4, UNDERLAY6):
                links.add_route(network, UPLINK)
            links.await_ready(UPLINK, host.addresses)
        self._await_port(f"outside{number}")

    def join_outside(self, host: OutsideHost, node: Node) -> None:
        """Routes from the node to the host's addresses, and back to the node's pods."""
        with links_of(node.namespace) as links:
            for address in host.addresses:
                links.add_route(ip_network(address), UPLINK)
        with links_of(host.namespace) as links:
            for network, gateway in zip(node.pod_networks, node.addresses, strict=True):
                if any(address.version == gateway.version for address in host.addresses):
                    links.add_route(network, UPLINK, gateway)

    def masquerade(self, node: Node) -> None:
        """Pods of the node speak to hosts outside with the node's address, as most CNIs have it."""
        with inside(node.namespace):
            result = subprocess.run(
                ["nft", "-f", "-"],  # noqa: S607 - root's own PATH, checked by requirements.py
                input=MASQUERADE,
                text=True,
                capture_output=True,
                check=False,
            )
        if result.returncode != 0:
            raise LaboratoryError(f"nft refused the masquerade table: {result.stderr.strip()}")

    def _connect(self, port: str, far: LinkEnd) -> None:
        with links_of(self.namespace) as links:
            links.add_veth(port, far, BRIDGE)

    def _await_port(self, port: str) -> None:
        with links_of(self.namespace) as links:
            links.await_ready(port, ())
