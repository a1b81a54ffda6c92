"""SCTP and ICMP without sockets of their own: one raw socket for each namespace, family and protocol.

This kernel speaks no SCTP, so a stack here answers INIT for listeners (INIT ACK, with the identity as
cookie) and refuses ports nobody listens on (ABORT), and hands what comes back to the probes that
wait. One stack has both roles, as a kernel's has: a raw socket receives everything of its protocol.

Knows raw sockets and who waits for what. Knows nothing of timeouts.
"""

import asyncio
import contextlib
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Hashable
from itertools import count
from typing import Final

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.netns import inside
from policy_controller.testing.probe.model import Answer, Outcome
from policy_controller.testing.probe.packets import SCTP_PROTOCOL, Chunk, Echo, SctpPacket
from policy_controller.testing.probe.sockets import (
    Datagram,
    SocketAddress,
    open_socket,
    queued_errors,
    receive,
    report_destinations,
    report_errors,
    send_from,
    socket_address,
)

ICMP_FILTER: Final = 1
ICMP6_FILTER: Final = 1
EPHEMERAL: Final = range(32768, 61000)
READS_PER_EVENT: Final = 64

Waiting = dict[Hashable, asyncio.Future[Answer]]


class RawStack(ABC):
    """A raw socket and the answers that are awaited on it, by the key that a reply shows."""

    def __init__(self, namespace: str, version: int, protocol: int) -> None:
        self.users = 0
        self._namespace = namespace
        self._version = version
        self._waiting: Waiting = {}
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._socket = open_socket(namespace, family, socket.SOCK_RAW, protocol)
        report_errors(self._socket)
        report_destinations(self._socket)
        self._loop.add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        """Close the socket. Who still waits, waits in vain."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def expect(self, key: Hashable, answer: asyncio.Future[Answer]) -> None:
        """Settle `answer` by what comes in for `key`."""
        self._waiting[key] = answer

    def forget(self, key: Hashable) -> None:
        """Nobody waits for `key` any more."""
        self._waiting.pop(key, None)

    def send(self, message: bytes, source: Address | None, destination: Address) -> None:
        """Send a packet of this protocol. Raises OSError."""
        to: SocketAddress
        if destination.is_link_local:
            with inside(self._namespace):
                to = socket_address(destination, 0)
        else:
            to = socket_address(destination, 0)
        send_from(self._socket, message, source, to, to[3] if len(to) == 4 else 0)

    def _on_readable(self) -> None:
        for _ in range(READS_PER_EVENT):
            try:
                for datagram in receive(self._socket):
                    self._take(datagram, self._without_header(datagram.message))
                break
            except OSError:
                # The socket's own error; which probe it concerns is in the error queue, with what was sent.
                continue
        for number, destination, message in queued_errors(self._socket):
            key = self._key_of_sent(destination, message)
            if key is not None:
                self._settle(key, Answer.of_errno(number))

    def _without_header(self, message: bytes) -> bytes:
        return message[(message[0] & 0x0F) * 4 :] if self._version == 4 else message

    def _settle(self, key: Hashable, answer: Answer) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    @abstractmethod
    def _take(self, datagram: Datagram, message: bytes) -> None:
        """Treat one packet that came in (`message`: without its IPv4 header)."""

    @abstractmethod
    def _key_of_sent(self, destination: Address, message: bytes) -> Hashable | None:
        """The key under which the answer to a packet that we sent is awaited."""


class IcmpStack(RawStack):
    """Echo requests out, replies in. The other side is its kernel."""

    def __init__(self, namespace: str, version: int) -> None:
        super().__init__(namespace, version, socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6)
        if version == 4:
            self._socket.setsockopt(socket.IPPROTO_RAW, ICMP_FILTER, (0xFFFFFFFF ^ 1).to_bytes(4, "little"))
        else:
            blocked = bytearray(b"\xff" * 32)
            blocked[129 // 8] ^= 1 << (129 % 8)
            self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(blocked))

    def _take(self, datagram: Datagram, message: bytes) -> None:
        echo = Echo.from_reply(self._version, message)
        if echo is not None:
            self._settle((datagram.source, echo.identifier, echo.sequence), Answer(Outcome.ACCEPTED))

    def _key_of_sent(self, destination: Address, message: bytes) -> Hashable | None:
        echo = Echo.from_request(self._version, message)
        return None if echo is None else (destination, echo.identifier, echo.sequence)


class SctpStack(RawStack):
    """Half a handshake, both roles."""

    def __init__(self, namespace: str, version: int) -> None:
        super().__init__(namespace, version, SCTP_PROTOCOL)
        self._listeners: dict[int, list[tuple[frozenset[Address], str]]] = {}
        self._ports = count(secrets.randbelow(len(EPHEMERAL)))

    def listen(self, port: int, addresses: frozenset[Address], identity: str) -> None:
        """Answer INIT to that port (no addresses: of any address) with that identity."""
        self._listeners.setdefault(port, []).append((addresses, identity))

    def stop_listening(self, port: int, addresses: frozenset[Address], identity: str) -> None:
        """Undo one `listen`."""
        self._listeners[port].remove((addresses, identity))

    def next_port(self) -> int:
        """A source port; the same one comes again after all others."""
        return EPHEMERAL[next(self._ports) % len(EPHEMERAL)]

    def _take(self, datagram: Datagram, message: bytes) -> None:
        packet = SctpPacket.from_bytes(message)
        if packet is None:
            return
        if packet.chunk is Chunk.INIT:
            self._answer(datagram, packet)
        elif packet.chunk is Chunk.INIT_ACK:
            peer = packet.cookie.decode("ascii", "replace")
            self._settle(_key(datagram, packet), Answer(Outcome.ACCEPTED, peer))
        else:
            self._settle(_key(datagram, packet), Answer(Outcome.REFUSED, reason="SCTP ABORT"))

    def _answer(self, datagram: Datagram, init: SctpPacket) -> None:
        identity = next(
            (
                identity
                for addresses, identity in self._listeners.get(init.port, ())
                if not addresses or datagram.destination in addresses
            ),
            None,
        )
        if identity is None:
            reply = SctpPacket(init.port, init.source_port, init.initiate_tag, Chunk.ABORT)
        else:
            tag = secrets.randbits(32) | 1
            cookie = identity.encode("ascii")
            reply = SctpPacket(init.port, init.source_port, init.initiate_tag, Chunk.INIT_ACK, tag, cookie)
        to: SocketAddress = (str(datagram.source), 0)
        if self._version == 6:
            to = (str(datagram.source), 0, 0, datagram.link if datagram.source.is_link_local else 0)
        # An answer the namespace will not send is an answer that does not arrive: the prober sees it.
        with contextlib.suppress(OSError):
            send_from(self._socket, reply.to_bytes(), datagram.destination, to, datagram.link)

    def _key_of_sent(self, destination: Address, message: bytes) -> Hashable | None:
        packet = SctpPacket.from_bytes(message)
        if packet is None or packet.chunk is not Chunk.INIT:
            return None
        return destination, packet.port, packet.source_port, packet.initiate_tag


def _key(datagram: Datagram, packet: SctpPacket) -> Hashable:
    return datagram.source, packet.source_port, packet.port, packet.tag
