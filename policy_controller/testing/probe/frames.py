"""Frames as they are: built with any tags, sent from one namespace, seen in another.

For what does not pass the IP hooks: VLAN-tagged frames, QinQ, other EtherTypes. Knows AF_PACKET and the
layout of Ethernet, IP and UDP headers. Knows nothing of listeners.
"""

import asyncio
import socket
import struct
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.netns import inside
from policy_controller.testing.probe.attention import AttentiveClock
from policy_controller.testing.probe.model import ProbeError
from policy_controller.testing.probe.packets import internet_checksum
from policy_controller.testing.probe.sockets import without_scope

ETHER_TYPE: Final = {4: 0x0800, 6: 0x86DD}
EVERY_TYPE: Final = 0x0003
OUTGOING: Final = 4
DOT1Q: Final = 0x8100
DOT1AD: Final = 0x88A8
UDP_PROTOCOL: Final = 17
LONGEST_FRAME: Final = 65535
KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class Tag:
    """A VLAN tag: `protocol` is DOT1Q or DOT1AD, `vlan` 0..4095 (0: priority only)."""

    vlan: int
    protocol: int = DOT1Q


@dataclass(frozen=True, slots=True)
class UdpFrame:
    """A UDP datagram in an Ethernet frame, with tags from the outermost to the innermost."""

    source_mac: str
    destination_mac: str
    source: Address
    destination: Address
    source_port: int
    port: int
    payload: bytes
    tags: tuple[Tag, ...] = ()

    def to_bytes(self) -> bytes:
        """The frame, with correct lengths and checksums."""
        version = self.destination.version
        ethernet = _mac(self.destination_mac) + _mac(self.source_mac)
        for tag in self.tags:
            ethernet += struct.pack("!HH", tag.protocol, tag.vlan)
        ethernet += struct.pack("!H", ETHER_TYPE[version])
        return ethernet + self._ip_header(version) + self._udp()

    def _udp(self) -> bytes:
        length = 8 + len(self.payload)
        ends = without_scope(self.source).packed + without_scope(self.destination).packed
        pseudo = ends + struct.pack("!IHBB", length, 0, 0, UDP_PROTOCOL)
        header = struct.pack("!HHHH", self.source_port, self.port, length, 0)
        checksum = internet_checksum(pseudo + header + self.payload) or 0xFFFF
        return header[:6] + struct.pack("!H", checksum) + self.payload

    def _ip_header(self, version: int) -> bytes:
        length = 8 + len(self.payload)
        ends = without_scope(self.source).packed + without_scope(self.destination).packed
        if version == 6:
            return struct.pack("!IHBB", 0x60000000, length, UDP_PROTOCOL, 64) + ends
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP_PROTOCOL, 0) + ends
        return header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:]


class Capture:
    """The frames that come in by one interface. Made by Prober.capture."""

    def __init__(self, namespace: str, interface: str, clock: AttentiveClock) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._frames: deque[bytes] = deque(maxlen=KEPT)
        self._wanted: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self._socket = _packet_socket(namespace, interface, EVERY_TYPE)
        self._loop.add_reader(self._socket, self._on_readable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Capture no more. Closing twice is closing once."""
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def frame_with(self, content: bytes, *, within: float) -> bytes | None:
        """The first frame that contains `content`, past or to come; None after `within` attentive seconds.

        The kernel takes off the outermost VLAN tag before anyone sees the frame: look for the payload.
        """
        for frame in self._frames:
            if content in frame:
                return frame
        found: asyncio.Future[bytes] = self._loop.create_future()
        self._wanted.append((content, found))
        arrived = await self._clock.answered(found, within)
        self._wanted.remove((content, found))
        return found.result() if arrived else None

    def _on_readable(self) -> None:
        while True:
            try:
                frame, sender = self._socket.recvfrom(LONGEST_FRAME)
            except OSError:  # nothing waits, or the link went down with its pod
                return
            if sender[2] == OUTGOING:
                continue
            self._frames.append(frame)
            for content, found in self._wanted:
                if content in frame and not found.done():
                    found.set_result(frame)


def send_frame(namespace: str, interface: str, frame: bytes) -> None:
    """Send a frame, Ethernet header included, as it is. Raises ProbeError."""
    with _packet_socket(namespace, interface, 0) as opened:
        try:
            opened.send(frame)
        except OSError as error:
            raise ProbeError(f"the frame cannot be sent by {interface} of {namespace}: {error}") from error


def _packet_socket(namespace: str, interface: str, ether_type: int) -> socket.socket:
    try:
        with inside(namespace):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            opened.setblocking(False)
            opened.bind((interface, ether_type))
    except OSError as error:
        raise ProbeError(f"no packet socket on {interface} of {namespace}: {error}") from error
    return opened


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))
