"""Sockets born in a namespace, and the socket options Python has no words for.

Knows setns, addresses as the socket calls want them, and ancillary messages. Knows nothing of probes.
A socket belongs to the namespace it was made in for good, so one loop can drive sockets of all.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.netns import inside

IP_PKTINFO: Final = 8
IP_RECVERR: Final = 11
IP_BIND_ADDRESS_NO_PORT: Final = 24
IPV6_RECVERR: Final = 25
MSG_ERRQUEUE: Final = 0x2000
TOTAL_RETRANS: Final = 100
"""Where struct tcp_info of include/uapi/linux/tcp.h has how many segments were sent again, a u32."""
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: no TIME_WAIT, so thousands of probes of a pair use up neither ports nor conntrack entries."""
LARGEST: Final = 65535

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Datagram:
    """A received message: who sent it, and the address of ours it was sent to (with the link it came by)."""

    message: bytes
    source: Address
    source_port: int
    destination: Address
    link: int


def without_scope(address: Address) -> Address:
    """The address as packets carry it: fe80::1%eth0 is fe80::1 there."""
    return ip_address(str(address).partition("%")[0])


def family_of(address: Address) -> socket.AddressFamily:
    """The socket family of an address."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def socket_address(address: Address, port: int) -> SocketAddress:
    """An address for bind, connect and sendto. A scope (fe80::1%eth0) is looked up where the thread is."""
    if isinstance(address, IPv4Address):
        return (str(address), port)
    link = socket.if_nametoindex(address.scope_id) if address.scope_id is not None else 0
    return (str(address).partition("%")[0], port, 0, link)


def open_socket(namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A non-blocking socket of the namespace. IPv6 sockets speak IPv6 only."""
    with inside(namespace):
        opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    if family == socket.AF_INET6 and kind != socket.SOCK_RAW:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def repeats_of(connection: socket.socket) -> int:
    """How many segments, SYN included, the kernel has sent again over a TCP connection, because they were not acknowledged."""
    known = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TOTAL_RETRANS + 4)
    (count,) = struct.unpack_from("=I", known, TOTAL_RETRANS)
    return int(count)


def report_errors(of: socket.socket) -> None:
    """Have every ICMP error reported, also those the kernel takes for passing (host unreachable)."""
    if of.family == socket.AF_INET:
        of.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        of.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def report_destinations(of: socket.socket) -> None:
    """Have `receive` tell to which address a message was sent."""
    if of.family == socket.AF_INET:
        of.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        of.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def receive(of: socket.socket) -> Iterator[Datagram]:
    """All messages that wait, until there is none; an error the socket reports in between is raised."""
    while True:
        try:
            message, ancillary, _, sender = of.recvmsg(LARGEST, 256)
        except BlockingIOError:
            return
        destination: Address = ip_address("0.0.0.0" if of.family == socket.AF_INET else "::")
        link = 0
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                link, _, packed = struct.unpack("=I4s4s", value[:12])
                destination = IPv4Address(packed)
            elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                packed, link = struct.unpack("=16sI", value[:20])
                destination = IPv6Address(packed)
        yield Datagram(message, ip_address(sender[0].partition("%")[0]), sender[1], destination, link)


def send_from(
    of: socket.socket, message: bytes, source: Address | None, to: SocketAddress, link: int = 0
) -> None:
    """Send with that source address (None: the kernel's choice), which link-local needs a link for."""
    ancillary: list[tuple[int, int, bytes]] = []
    if isinstance(source, IPv4Address):
        ancillary.append((socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, source.packed, bytes(4))))
    elif source is not None:
        packed = struct.pack("=16sI", source.packed, link if source.is_link_local else 0)
        ancillary.append((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed))
    of.sendmsg([message], ancillary, 0, to)


def queued_errors(of: socket.socket) -> Iterator[tuple[int, Address, bytes]]:
    """All ICMP errors that wait: errno, the address we had sent to, and what we had sent."""
    while True:
        try:
            message, ancillary, _, sender = of.recvmsg(LARGEST, 256, MSG_ERRQUEUE)
        except BlockingIOError:
            return
        for level, kind, value in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                (number,) = struct.unpack_from("=I", value)
                yield number, ip_address(sender[0].partition("%")[0]), message
