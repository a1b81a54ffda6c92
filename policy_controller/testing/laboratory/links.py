"""Links, addresses and routes over rtnetlink: the few operations the networks here are made of.

Knows pyroute2 and one namespace at a time. Knows nothing of nodes, pods or plans.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from policy_controller.testing.laboratory.addresses import Address, Network
from policy_controller.testing.laboratory.netns import NETNS_DIRECTORY, LaboratoryError, inside

IFA_F_NODAD: Final = 0x02
HAIRPIN: Final = 1


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """The far end of a veth pair: the namespace it goes to, its name there and its MAC."""

    namespace: str
    name: str
    mac: str


class Links:
    """The links of one namespace, over one rtnetlink socket. Made by `links_of`."""

    def __init__(self, route: IPRoute) -> None:
        self._route = route

    def add_bridge(self, name: str, mac: str) -> None:
        """Make a bridge and bring it up."""
        self._route.link("add", ifname=name, kind="bridge", address=mac)
        self.bring_up(name)

    def add_veth(self, name: str, bridge: str, far: LinkEnd) -> None:
        """Make a veth pair, its near end an up port of the bridge, its far end in another namespace."""
        there = os.open(NETNS_DIRECTORY / far.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": far.name, "address": far.mac, "net_ns_fd": there}
            self._route.link("add", ifname=name, kind="veth", master=_index(bridge), peer=peer)
        finally:
            os.close(there)
        self.bring_up(name)

    def let_hairpin(self, name: str) -> None:
        """A bridge port that may send a frame back out of where it came in: a pod reaches itself by a Service."""
        self._route.brport("set", index=_index(name), mode=HAIRPIN)

    def bring_up(self, name: str) -> None:
        """Bring a link up."""
        self._route.link("set", index=_index(name), state="up")

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
