"""Packets made by hand, as a pod with NET_RAW can make them, and which of them come in where they should not."""

import asyncio
import json
import secrets
import socket
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.cluster import Pod
from compilers.model.words import Address
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import command
from policy_controller.testing.probe import UdpFrame
from policy_controller.testing.probe.packets import internet_checksum
from policy_controller.testing.probe.sockets import family_of, open_socket, socket_address

INTERFACE: Final = "eth0"
"""Of pods, nodes and outside hosts alike."""
ETHERNET: Final = 14
"""Bytes of an untagged Ethernet header."""
ICMPV6: Final = 58
WITHIN: Final = 0.5
"""Attentive seconds until nothing has come in."""
MAC: Final = "02:00:00:00:00:01"


def some_payload() -> bytes:
    """Bytes by which a packet is known again."""
    return secrets.token_bytes(12)


def udp(source: Address, destination: Address, payload: bytes, port: int = 53) -> bytes:
    """An IP packet with a UDP datagram."""
    return UdpFrame(MAC, MAC, source, destination, 4000, port, payload).to_bytes()[ETHERNET:]


def icmpv6(source: IPv6Address, destination: IPv6Address, kind: int, hop_limit: int, payload: bytes) -> bytes:
    """An IPv6 packet with an ICMPv6 message of a type, whatever that type should hold."""
    length = 4 + len(payload)
    ends = source.packed + destination.packed
    checksum = internet_checksum(ends + struct.pack("!IIBBH", length, ICMPV6, kind, 0, 0) + payload)
    header = struct.pack("!IHBB", 0x60000000, length, ICMPV6, hop_limit) + ends
    return header + struct.pack("!BBH", kind, 0, checksum) + payload


def unreachable(source: Address, destination: Address, quote: bytes) -> bytes:
    """An ICMP error about a packet that `quote` begins with: destination unreachable (RFC 792, RFC 4443)."""
    if isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        return icmpv6(source, destination, 1, 64, bytes(4) + quote)
    message = struct.pack("!BBHI", 3, 1, 0, 0) + quote
    message = message[:2] + struct.pack("!H", internet_checksum(message)) + message[4:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0x4000, 64, 1, 0)
    header += source.packed + destination.packed
    return header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:] + message


@dataclass(frozen=True, slots=True)
class Attempt:
    """A packet, the namespace that sends it, and the one in which its payload should not come in.

    `mac`: what the packet is sent to as a frame; without one the sender's kernel finds the way.
    """

    sender: str
    packet: bytes
    receiver: str
    payload: bytes
    mac: str | None = field(default=None, kw_only=True)

    def send(self, stage: Stage) -> None:
        """Send it once."""
        if self.mac is not None:
            ether_type = 0x0800 if self.packet[0] >> 4 == 4 else 0x86DD
            header = _mac(self.mac) + _mac(MAC) + struct.pack("!H", ether_type)
            stage.prober.send_frame(self.sender, INTERFACE, header + self.packet)
            return
        destination: Address
        if self.packet[0] >> 4 == 4:
            destination = IPv4Address(self.packet[16:20])
        else:
            destination = IPv6Address(self.packet[24:40])
        with open_socket(self.sender, family_of(destination), socket.SOCK_RAW, socket.IPPROTO_RAW) as sending:
            sending.sendto(self.packet, socket_address(destination, 0))


async def arrivals(stage: Stage, attempts: Mapping[str, Attempt]) -> set[str]:
    """The names of those attempts whose payload comes in at the receiver's interface."""
    with ExitStack() as opened:
        captures = {
            receiver: opened.enter_context(stage.prober.capture(receiver, INTERFACE))
            for receiver in sorted({attempt.receiver for attempt in attempts.values()})
        }
        for attempt in attempts.values():
            attempt.send(stage)
        found = await asyncio.gather(
            *(
                captures[attempt.receiver].frame_with(attempt.payload, within=WITHIN)
                for attempt in attempts.values()
            )
        )
    return {name for name, frame in zip(attempts, found, strict=True) if frame is not None}


def link_to(stage: Stage, pod: Pod) -> str:
    """The interface on which the pod's node meets it."""
    (pattern,) = stage.laboratory.pod_interfaces
    return stage.pod_at(pod.addresses[0]).host_interface if pattern.endswith("*") else pattern


def router_mac(stage: Stage, pod: Pod) -> str:
    """The MAC that the pod's node has towards it: what is sent there is routed, also to a neighbour on the bridge."""
    node = stage.pod_at(pod.addresses[0]).node
    (link,) = json.loads(command(node.namespace, "ip", "-j", "link", "show", link_to(stage, pod)))
    return str(link["address"])


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))
