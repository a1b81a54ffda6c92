"""The address plan: which address belongs to which node, gateway and pod.

Pure arithmetic over addresses. Knows nothing of namespaces or netlink.
Node n (from 1) has 172.31.0.(10+n) and fd31::(10+n), and the pod networks 10.244.n.0/24 and
fd10:244:n::/64, whose first host is the gateway.
"""

import zlib
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNDERLAY4: Final = IPv4Network("172.31.0.0/24")
UNDERLAY6: Final = IPv6Network("fd31::/64")
PODS4: Final = IPv4Network("10.244.0.0/16")
PODS6: Final = IPv6Network("fd10:244::/32")
OUTSIDE4: Final = IPv4Network("203.0.113.0/24")
OUTSIDE6: Final = IPv6Network("2001:db8:cafe::/64")
LINK_LOCAL: Final = IPv6Network("fe80::/64")

MOST_NODES: Final = 200
"""Bounded by the last octet of the underlay."""
MOST_PODS_OF_A_NODE: Final = 253
"""A /24 less its network, gateway and broadcast addresses."""


def node_addresses(index: int) -> tuple[IPv4Address, IPv6Address]:
    """The addresses of node `index` (from 1) on the underlay."""
    return UNDERLAY4[10 + index], UNDERLAY6[10 + index]


def pod_networks(index: int) -> tuple[IPv4Network, IPv6Network]:
    """The podCIDRs of node `index` (from 1)."""
    return (
        IPv4Network((int(PODS4.network_address) + (index << 8), 24)),
        IPv6Network((int(PODS6.network_address) + (index << 80), 64)),
    )


def next_host(taken: Collection[int], last: int) -> int | None:
    """The host number (2..254) after `last` that is not taken, round and round; None when all are.

    Round and round, as the host-local allocator does it: a departed pod's address comes back late,
    unless a caller asks for it by name.
    """
    for step in range(MOST_PODS_OF_A_NODE):
        host = 2 + (last - 2 + 1 + step) % MOST_PODS_OF_A_NODE
        if host not in taken:
            return host
    return None


def hardware_address(address: Address, kind: int = 0x58) -> str:
    """A locally administered MAC that follows from the address, e.g. 0a:58:0a:f4:01:02.

    An address that moves to another pod keeps its MAC, so no neighbour holds a stale entry and
    reuse works within the same millisecond.
    """
    low = (
        address.packed if isinstance(address, IPv4Address) else zlib.crc32(address.packed).to_bytes(4, "big")
    )
    return ":".join(f"{byte:02x}" for byte in (0x0A, kind, *low))


def link_local(mac: str, scope: str) -> IPv6Address:
    """The fe80:: address that the kernel forms from a MAC (RFC 4291, appendix A), with its interface."""
    byte = bytes.fromhex(mac.replace(":", ""))
    host = bytes((byte[0] ^ 0x02, *byte[1:3], 0xFF, 0xFE, *byte[3:]))
    return IPv6Address(f"{LINK_LOCAL.network_address + int.from_bytes(host, 'big')}%{scope}")
