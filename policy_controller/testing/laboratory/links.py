"""Links, addresses and routes over rtnetlink: the few operations the networks here are made of.

Knows pyroute2 and one namespace at a time. Knows nothing of nodes, pods or plans.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from policy_controller.testing.laboratory.addresses import Address, Network
from policy_controller.testing.laboratory.netns import NETNS_DIRECTORY, LaboratoryError, inside

IFA_F_NODAD: Final = 0x02
HAIRPIN: Final = 1
PERMANENT: Final = 0x80
"""NUD_PERMANENT."""
RTNH_F_ONLINK: Final = 4
READY_SECONDS: Final = 10.0
READY_POLL_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """The far end of a veth pair: the namespace it goes to, its name there and its MAC."""

    namespace: str
    name: str
    mac: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a VXLAN device is made of: network identifier, UDP port, the link and address it sends from, its MTU."""

    vni: int
    port: int
    over: str
    local: Address
    mtu: int


class Links:
    """The links of one namespace, over one rtnetlink socket. Made by `links_of`."""

    def __init__(self, route: IPRoute) -> None:
        self._route = route

    def add_bridge(self, name: str, mac: str) -> None:
        """Make a bridge and bring it up."""
        self._route.link("add", ifname=name, kind="bridge", address=mac)
        self.bring_up(name)

    def add_veth(self, name: str, far: LinkEnd, bridge: str | None = None, mac: str | None = None) -> None:
        """Make a veth pair, its far end in another namespace, its near end up: a port of the bridge, or free."""
        near = {"master": _index(bridge)} if bridge is not None else {}
        near_mac = {"address": mac} if mac is not None else {}
        there = os.open(NETNS_DIRECTORY / far.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": far.name, "address": far.mac, "net_ns_fd": there}
            self._route.link("add", ifname=name, kind="veth", **near, **near_mac, peer=peer)
        finally:
            os.close(there)
        self.bring_up(name)

    def add_vxlan(self, name: str, mac: str, tunnel: Tunnel) -> None:
        """Make a VXLAN device that learns nothing by itself, and bring it up."""
        local = {"vxlan_local" if tunnel.local.version == 4 else "vxlan_local6": str(tunnel.local)}
        self._route.link(
            "add",
            ifname=name,
            kind="vxlan",
            address=mac,
            mtu=tunnel.mtu,
            vxlan_id=tunnel.vni,
            vxlan_port=tunnel.port,
            vxlan_link=_index(tunnel.over),
            vxlan_learning=False,
            **local,
        )
        self.bring_up(name)

    def set_mtu(self, name: str, mtu: int) -> None:
        """The largest packet, in bytes, that the link takes whole."""
        self._route.link("set", index=_index(name), mtu=mtu)

    def add_neighbour(self, name: str, address: Address, mac: str) -> None:
        """Say for good which MAC an address has on a link."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self._route.neigh(
            "add", ifindex=_index(name), family=family, dst=str(address), lladdr=mac, state=PERMANENT
        )

    def add_forwarding(self, name: str, mac: str, far: Address) -> None:
        """Say to which host of the underlay a VXLAN device sends frames for a MAC."""
        self._route.fdb("append", ifindex=_index(name), lladdr=mac, dst=str(far))

    def let_hairpin(self, name: str) -> None:
        """A bridge port that may send a frame back out of where it came in: a pod reaches itself by a Service."""
        self._route.brport("set", index=_index(name), mode=HAIRPIN)

    def bring_up(self, name: str) -> None:
        """Bring a link up."""
        self._route.link("set", index=_index(name), state="up")

    def await_ready(self, name: str, addresses: Iterable[Address]) -> None:
        """Wait until a link that was brought up carries packets and its IPv6 addresses can be found.

        The kernel opens a link's queue, and its port of a bridge, some time after its far end came up, and
        joins an address's solicited-node group (RFC 4291, 2.7.1) by a deferred work: until then it drops in
        silence, and a neighbour asks again only after a second. Raises LaboratoryError after READY_SECONDS.
        """
        groups = {(name, _solicited_node_group(address)) for address in addresses if address.version == 6}
        deadline = time.monotonic() + READY_SECONDS
        while not (self._carries(name) and groups <= _joined_groups()):
            if time.monotonic() > deadline:
                raise LaboratoryError(f"the link {name} was not ready within {READY_SECONDS} s")
            time.sleep(READY_POLL_SECONDS)

    def _carries(self, name: str) -> bool:
        return bool(self._route.link("get", index=_index(name))[0].get("operstate") == "UP")

    def delete(self, name: str) -> None:
        """Delete a link; a veth pair goes with either end."""
        self._route.link("del", index=_index(name))

    def add_address(self, name: str, address: Address, prefix_length: int) -> None:
        """Give a link an address that is usable at once (no duplicate address detection)."""
        flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
        self._route.addr("add", index=_index(name), address=str(address), prefixlen=prefix_length, **flags)

    def announce(self, name: str, mac: str) -> None:
        """Tell the neighbours which MAC the link's addresses have now (gratuitous ARP, unsolicited advertisement).

        Setting the MAC, even to what it is, makes the kernel do so (sysctl arp_notify, ndisc_notify).
        """
        self._route.link("set", index=_index(name), address=mac)

    def add_route_on_link(self, network: Network, name: str, gateway: Address) -> None:
        """A route through a gateway that is taken to be on the link, whatever other routes say."""
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        self._route.route(
            "add",
            dst=str(network),
            oif=_index(name),
            gateway=str(gateway),
            family=family,
            flags=RTNH_F_ONLINK,
        )

    def add_blackhole(self, network: Network) -> None:
        """Drop in silence what no narrower route takes."""
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        self._route.route("add", dst=str(network), type="blackhole", family=family)

    def add_route(self, network: Network, name: str, gateway: Address | None = None) -> None:
        """A route to `network` out of a link: through the gateway, or to neighbours on the link itself."""
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        by: dict[str, str] = {}
        if gateway is not None:
            by["gateway"] = str(gateway)
        elif network.version == 4:
            by["scope"] = "link"
        self._route.route("add", dst=str(network), oif=_index(name), family=family, **by)


@contextmanager
def links_of(namespace: str) -> Iterator[Links]:
    """The links of the namespace; the thread lives there for the length of the block.

    What the kernel refuses becomes a LaboratoryError.
    """
    try:
        with inside(namespace), IPRoute() as route:
            yield Links(route)
    except (NetlinkError, OSError) as error:
        raise LaboratoryError(
            f"the kernel refused a link, address or route of {namespace}: {error}"
        ) from error


def _index(name: str) -> int:
    return socket.if_nametoindex(name)


def _solicited_node_group(address: Address) -> str:
    return "ff0200000000000000000001ff" + address.packed[-3:].hex()


def _joined_groups() -> set[tuple[str, str]]:
    """(link, group) of the namespace the thread is in."""
    lines = Path("/proc/thread-self/net/igmp6").read_text().splitlines()
    return {(fields[1], fields[2]) for fields in map(str.split, lines)}
