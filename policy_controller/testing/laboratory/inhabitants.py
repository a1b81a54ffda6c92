"""Who lives in a laboratory: nodes, pods and hosts outside, as values.

Knows names, addresses and the namespace each lives in. Makes nothing: see laboratory.py.
A hostNetwork pod is no inhabitant of its own: it is a process in its node's namespace.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeVar

from policy_controller.testing.laboratory.addresses import Address, Network, hardware_address, link_local
from policy_controller.testing.laboratory.netns import LaboratoryError

A = TypeVar("A", IPv4Address, IPv6Address)

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,198}[a-z0-9])?")
"""A file name under /run/netns and an argument of `ip netns`: neither a path nor an option."""

POD_INTERFACE: Final = "eth0"
UPLINK: Final = "eth0"
"""A node's way to the other nodes and to the outside, and an outside host's way back."""
LOOPBACK: Final = "lo"


def checked_name(name: str) -> str:
    """`name` itself, if it can be part of a namespace's name. Raises LaboratoryError otherwise."""
    if not NAME.fullmatch(name):
        raise LaboratoryError(
            f"{name!r} cannot name a namespace: use lower-case letters, digits, '-' and '.'"
        )
    return name


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its namespace, its addresses on the underlay and the networks of its pods."""

    name: str
    namespace: str
    index: int
    ipv4: IPv4Address
    ipv6: IPv6Address
    pods_ipv4: IPv4Network
    pods_ipv6: IPv6Network

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Its addresses on the underlay, IPv4 first."""
        return (self.ipv4, self.ipv6)

    @property
    def pod_networks(self) -> tuple[Network, ...]:
        """The networks of its pods, IPv4 first."""
        return (self.pods_ipv4, self.pods_ipv6)

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The node's addresses as its own pods see it."""
        return self.pods_ipv4[1], self.pods_ipv6[1]

    @property
    def gateway_mac(self) -> str:
        """The MAC of the node's side of the pod network."""
        return hardware_address(self.gateways[0])

    @property
    def link_local(self) -> IPv6Address:
        """The node's fe80:: address as one of its pods writes it (scope: the pod's interface)."""
        return link_local(self.gateway_mac, POD_INTERFACE)


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: its namespace, its node, its addresses (IPv4 first) and its links."""

    name: str
    namespace: str
    node: Node
    addresses: tuple[Address, ...]
    host_interface: str
    interface: str = POD_INTERFACE

    def __post_init__(self) -> None:
        if not self.addresses:
            raise LaboratoryError(f"pod {self.name} has no address")

    @property
    def ipv4(self) -> IPv4Address:
        """Its first IPv4 address. Raises LaboratoryError if it has none."""
        return _first(self.name, self.addresses, IPv4Address)

    @property
    def ipv6(self) -> IPv6Address:
        """Its first IPv6 address. Raises LaboratoryError if it has none."""
        return _first(self.name, self.addresses, IPv6Address)

    @property
    def mac(self) -> str:
        """The MAC of its interface; it follows from the first address."""
        return hardware_address(self.addresses[0])

    @property
    def link_local(self) -> IPv6Address:
        """Its fe80:: address as another pod of its bridge writes it (scope: that pod's interface)."""
        return link_local(self.mac, self.interface)


@dataclass(frozen=True, slots=True)
class OutsideHost:
    """A host beyond the nodes that knows the way back to the pods."""

    name: str
    namespace: str
    addresses: tuple[Address, ...]


def _first(name: str, addresses: tuple[Address, ...], family: type[A]) -> A:
    for address in addresses:
        if isinstance(address, family):
            return address
    raise LaboratoryError(f"{name} has no {family.__name__.removesuffix('Address')} address")
