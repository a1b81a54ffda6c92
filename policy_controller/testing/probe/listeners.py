"""Who answers: TCP, UDP and SCTP ports of a namespace that tell the listener's identity.

TCP and UDP echo: each line or datagram `nonce` is answered with `identity nonce`. SCTP: see stacks.py.
Knows sockets and identities. Knows nothing of probes or policies.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.netns import inside
from policy_controller.testing.probe.model import ProbeError, checked_identity
from policy_controller.testing.probe.rawexchanges import RawStacks
from policy_controller.testing.probe.sockets import (
    RESET_ON_CLOSE,
    family_of,
    open_socket,
    receive,
    report_destinations,
    send_from,
    socket_address,
    without_scope,
)
from policy_controller.testing.probe.stacks import SctpStack

EVERY_ADDRESS: Final = (ip_address("0.0.0.0"), ip_address("::"))
BACKLOG: Final = 4096
"""As the kernel's somaxconn: a full queue would drop SYNs, which looks like a policy."""
LONGEST_LINE: Final = 4096


@dataclass(frozen=True, slots=True)
class Listener:
    """An identity that answers on ports of a namespace; without addresses, on all of both families."""

    namespace: str
    identity: str
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    sctp: tuple[int, ...] = ()
    addresses: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        checked_identity(self.identity)
        for port in (*self.tcp, *self.udp, *self.sctp):
            if not 1 <= port <= 65535:
                raise ProbeError(f"{port} is not a port")


class Listening:
    """A listener at work; `close` it when its pod goes."""

    def __init__(self, listener: Listener, stacks: RawStacks) -> None:
        self.listener = listener
        self._loop = asyncio.get_running_loop()
        self._stacks = stacks
        self._prefix = f"{listener.identity} ".encode()
        self._open: set[socket.socket] = set()
        self._sctp: list[SctpStack] = []
        try:
            self._start()
        except OSError as error:
            self.close()
            raise ProbeError(f"{listener.identity} cannot listen: {error}") from error
        except BaseException:  # not ours to judge: what is open already must not stay open
            self.close()
            raise

    def close(self) -> None:
        """Close all ports and reset all connections."""
        for opened in tuple(self._open):
            self._drop(opened)
        for stack in self._sctp:
            for port in self.listener.sctp:
                stack.stop_listening(port, self._sctp_addresses(), self.listener.identity)
            self._stacks.give_back(stack)
        self._sctp.clear()

    def _start(self) -> None:
        for address in self.listener.addresses or EVERY_ADDRESS:
            for port in self.listener.tcp:
                opened = self._bound(address, port, socket.SOCK_STREAM)
                opened.listen(BACKLOG)
                self._loop.add_reader(opened, self._on_connection, opened)
            for port in self.listener.udp:
                opened = self._bound(address, port, socket.SOCK_DGRAM)
                report_destinations(opened)
                self._loop.add_reader(opened, self._on_datagram, opened)
        if self.listener.sctp:
            versions = sorted({address.version for address in self.listener.addresses or EVERY_ADDRESS})
            for version in versions:
                stack = self._stacks.lend(SctpStack, self.listener.namespace, version)
                self._sctp.append(stack)
                for port in self.listener.sctp:
                    stack.listen(port, self._sctp_addresses(), self.listener.identity)

    def _sctp_addresses(self) -> frozenset[Address]:
        return frozenset(without_scope(address) for address in self.listener.addresses)

    def _bound(self, address: Address, port: int, kind: int) -> socket.socket:
        opened = open_socket(self.listener.namespace, family_of(address), kind)
        self._open.add(opened)
        if kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with inside(self.listener.namespace):
            opened.bind(socket_address(address, port))
        return opened

    def _on_connection(self, listening: socket.socket) -> None:
        for connection in _accepted(listening):
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            self._loop.add_reader(connection, self._on_lines, connection)

    def _on_lines(self, connection: socket.socket) -> None:
        try:
            lines = connection.recv(LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            lines = b""
        if not lines:
            self._drop(connection)
            return
        answer = b"".join(self._prefix + line + b"\n" for line in lines.splitlines())
        # A client that is gone, or reads nothing, gets no answer: it will call it silence.
        with contextlib.suppress(OSError):
            connection.send(answer)

    def _on_datagram(self, opened: socket.socket) -> None:
        # An ICMP error for an earlier answer shows here; the client it concerns is gone.
        with contextlib.suppress(OSError):
            for datagram in receive(opened):
                to: tuple[str, int] | tuple[str, int, int, int] = (str(datagram.source), datagram.source_port)
                if opened.family == socket.AF_INET6:
                    link = datagram.link if datagram.source.is_link_local else 0
                    to = (str(datagram.source), datagram.source_port, 0, link)
                answer = self._prefix + datagram.message
                send_from(opened, answer, datagram.destination, to, datagram.link)

    def _drop(self, opened: socket.socket) -> None:
        self._open.discard(opened)
        self._loop.remove_reader(opened)
        opened.close()


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """All connections that wait."""
    while True:
        try:
            yield listening.accept()[0]
        except BlockingIOError:
            return
        except ConnectionError:  # reset while it waited: the next one may be fine
            continue
