"""Stations: pods that ask and answer by UDP and TCP, each question a new flow, at a few system calls each.

Knows sockets. Whoever uses it runs one thread that may live in any network namespace. Knows nothing of who may reach whom.

A ring of UDP sockets a family asks in turn, so that a flow's ports come again only after the kernel has long forgotten it
(FORGET_SECONDS). What is asked by TCP is a connection of its own, that is reset as soon as it stands.
"""

import ctypes
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from compilers.model.words import Protocol
from policy_controller.testing.chaos.verdicts import FAMILIES, SERVICES
from policy_controller.testing.laboratory.netns import CLONE_NEWNET, LIBC, NETNS_DIRECTORY
from policy_controller.testing.probe.sockets import RESET_ON_CLOSE

RING: Final = 16
FORGET_SECONDS: Final = 2
"""After so many seconds conntrack of the nodes is told to forget a UDP flow."""
NUMBER: Final = struct.Struct("!Q")
BUFFER: Final = 1 << 20
BACKLOG: Final = 1024
MOST_AT_ONCE: Final = 64
"""Datagrams that one socket may serve before the others have their turn."""

ESTABLISHED: Final = frozenset({0, errno.ECONNRESET})
"""What a connection says of itself that stands, or stood until the listener had seen it and reset it."""

Key = tuple[str, int, str, int]
"""A TCP connection: the client's address and port, the server's address and port."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a pod is: its network namespace, and an address of each family, IPv4 first."""

    number: int
    namespace: str
    addresses: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told. `came` has a question's number, `came_by_tcp` its connection; `answered` a question's number."""

    came: Callable[[int], None]
    came_by_tcp: Callable[[Key], None]
    answered: Callable[[int], None]


class Station:
    """The sockets of one pod. `epoll` serves them; `handlers` has what to call for each descriptor."""

    def __init__(
        self, site: Site, epoll: select.epoll, handlers: dict[int, Callable[[], None]], ears: Ears
    ) -> None:
        self.site = site
        self._epoll, self._handlers, self._ears = epoll, handlers, ears
        self._sockets: list[socket.socket] = []
        self._namespace = os.open(NETNS_DIRECTORY / site.namespace, os.O_RDONLY | os.O_CLOEXEC)
        self._rings = tuple(self._ring(family) for family in range(FAMILIES))
        for family in range(FAMILIES):
            for service in SERVICES:
                if service.protocol is Protocol.UDP:
                    self._udp(family, service.port, self._on_question)
                else:
                    self._listen_tcp(family, service.port)

    def close(self) -> None:
        """Close everything."""
        for opened in self._sockets:
            self._forget(opened)
        self._sockets.clear()
        os.close(self._namespace)

    def ask(self, family: int, turn: int, address: str, port: int, number: int) -> None:
        """Send a question by UDP from the socket whose turn it is. Raises OSError."""
        self._rings[family][turn % RING].sendto(NUMBER.pack(number), (address, port))

    def connect(self, family: int, address: str, port: int, number: int) -> tuple[Key, Callable[[], None]]:
        """Begin a connection; returns its key, and what lets go of it. Raises OSError."""
        self._enter()
        opened = socket.socket(
            socket.AF_INET6 if family else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        )
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            with suppress(BlockingIOError):
                opened.connect((address, port))
            own = opened.getsockname()
        except OSError:
            opened.close()
            raise

        def on_connected() -> None:
            trouble = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if trouble in ESTABLISHED:
                self._ears.answered(number)
                return
            if trouble == errno.ECONNREFUSED:
                # Somebody was reached, who said no.
                self._ears.came(number)
            self._forget(opened)

        self._serve(opened, select.EPOLLOUT, on_connected)
        return (self.site.addresses[family], own[1], address, port), lambda: self._forget(opened)

    def _ring(self, family: int) -> tuple[socket.socket, ...]:
        return tuple(self._udp(family, 0, self._on_answer) for _ in range(RING))

    def _udp(self, family: int, port: int, on_readable: Callable[[socket.socket], None]) -> socket.socket:
        opened = self._bound(family, port, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._serve(opened, select.EPOLLIN, lambda: on_readable(opened))
        return opened

    def _listen_tcp(self, family: int, port: int) -> None:
        opened = self._bound(family, port, socket.SOCK_STREAM)
        opened.listen(BACKLOG)
        self._serve(opened, select.EPOLLIN, lambda: self._on_connections(opened, family, port))

    def _bound(self, family: int, port: int, kind: int) -> socket.socket:
        self._enter()
        opened = socket.socket(socket.AF_INET6 if family else socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        self._sockets.append(opened)
        if kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((self.site.addresses[family], port))
        return opened

    def _enter(self) -> None:
        """The thread goes to the pod, and stays: a socket belongs to where it was made."""
        if LIBC.setns(self._namespace, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _serve(self, opened: socket.socket, events: int, call: Callable[[], None]) -> None:
        self._handlers[opened.fileno()] = call
        self._epoll.register(opened.fileno(), events)

    def _forget(self, opened: socket.socket) -> None:
        if opened.fileno() >= 0:
            self._handlers.pop(opened.fileno(), None)
            self._epoll.unregister(opened.fileno())
            opened.close()

    def _on_answer(self, opened: socket.socket) -> None:
        for message, _ in _received(opened):
            self._ears.answered(NUMBER.unpack(message)[0])

    def _on_question(self, opened: socket.socket) -> None:
        for message, client in _received(opened):
            self._ears.came(NUMBER.unpack(message)[0])
            # A client that cannot be reached any more gets no answer.
            with suppress(OSError):
                opened.sendto(message, client)

    def _on_connections(self, listening: socket.socket, family: int, port: int) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                connection, client = listening.accept()
            except OSError:
                # None waits; or one was reset while it waited, and the next look shows the others.
                return
            self._ears.came_by_tcp((client[0], client[1], self.site.addresses[family], port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()


Message = tuple[bytes, tuple[str, int]]


def _received(opened: socket.socket) -> list[Message]:
    found: list[Message] = []
    for _ in range(MOST_AT_ONCE):
        try:
            message, sender = opened.recvfrom(64)
        except OSError:
            break
        if len(message) == NUMBER.size:
            found.append((message, sender))
    return found
