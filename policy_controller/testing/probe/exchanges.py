"""One question and its answer over TCP or UDP: sockets, errors, the nonce and the identity.

Knows one probe at a time. Knows nothing of timeouts or parallelism: the prober says when to send again
and when to give up.
"""

import asyncio
import errno
import secrets
import socket
from typing import Final, Protocol

from policy_controller.testing.laboratory.netns import inside
from policy_controller.testing.probe.model import Answer, Outcome, Probe
from policy_controller.testing.probe.sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    RESET_ON_CLOSE,
    family_of,
    open_socket,
    repeats_of,
    report_errors,
    socket_address,
)

LONGEST_ANSWER: Final = 4096


class Exchange(Protocol):
    """A probe under way."""

    answer: asyncio.Future[Answer]
    connected_at: float | None
    """The loop's time at the end of the handshake, where there is one."""
    repeats: int
    """TCP segments that the kernel sent again before the answer came."""

    def send(self) -> None:
        """Send the first or one more packet. Raises OSError if the namespace refuses at once."""

    def silence(self) -> Answer:
        """The answer that no answer stands for, once time is up."""

    def close(self) -> None:
        """Let go of all sockets."""


def identity_in(line: bytes, nonce: str) -> str | None:
    """Who answered `nonce`; None if the line answers something else."""
    identity, _, echoed = line.decode("ascii", "replace").strip().partition(" ")
    return identity if echoed == nonce else None


class UdpExchange:
    """A connected UDP socket; every packet carries the same nonce, an answer to any of them is an answer."""

    connected_at: float | None = None
    repeats: int = 0

    def __init__(self, probe: Probe) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = self._loop.create_future()
        self._nonce = secrets.token_hex(8)
        self._socket = connecting_socket(probe, socket.SOCK_DGRAM)
        try:
            report_errors(self._socket)
            connect_errno = connect(self._socket, probe)
            if connect_errno:
                raise OSError(connect_errno, "connect")
        except BaseException:  # not ours to judge: the socket must not stay open
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._on_readable)

    def send(self) -> None:
        """Send the nonce."""
        self._socket.send(self._nonce.encode())

    def silence(self) -> Answer:
        """Nothing came back, not even an error."""
        return Answer(Outcome.TIMED_OUT, reason="no answer")

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _on_readable(self) -> None:
        try:
            identity = identity_in(self._socket.recv(LONGEST_ANSWER), self._nonce)
        except BlockingIOError:
            return
        except OSError as error:
            _settle(self.answer, Answer.of_errno(error.errno or errno.EIO))
            return
        if identity is not None:
            _settle(self.answer, Answer(Outcome.ACCEPTED, identity))


class TcpExchange:
    """One connection for each `send`: the kernel repeats a lost SYN only after a second, so we open another.

    A probe with a source port of its own closes the first connection before it opens the second.
    """

    def __init__(self, probe: Probe) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = self._loop.create_future()
        self.connected_at: float | None = None
        self.repeats = 0
        self._probe = probe
        self._nonce = secrets.token_hex(8)
        self._connecting: list[socket.socket] = []
        self._connected: list[socket.socket] = []

    def send(self) -> None:
        """Open one more connection, unless one is open and its answer on the way."""
        if self._connected:
            return
        if self._probe.source_port is not None:
            self.close()
        opened = connecting_socket(self._probe, socket.SOCK_STREAM)
        self._connecting.append(opened)
        number = connect(opened, self._probe)
        if number not in (0, errno.EINPROGRESS):
            _settle(self.answer, Answer.of_errno(number))
            return
        # ICMP that came back within the connect call found the socket locked: it is kept as a soft error.
        if not self._failed(opened):
            self._loop.add_writer(opened, self._on_connected, opened)

    def silence(self) -> Answer:
        """Nobody answered the SYN; or someone did, and then fell silent."""
        for opened in self._connecting:
            if self._failed(opened):
                return self.answer.result()
        heard = "the handshake was completed, but no answer followed" if self._connected else "no answer"
        return Answer(Outcome.TIMED_OUT, reason=heard)

    def close(self) -> None:
        """Reset all connections."""
        for opened in self._connecting:
            self._loop.remove_writer(opened)
            opened.close()
        for opened in self._connected:
            self._loop.remove_reader(opened)
            opened.close()
        self._connecting.clear()
        self._connected.clear()

    def _failed(self, opened: socket.socket) -> bool:
        number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            _settle(self.answer, Answer.of_errno(number))
        return bool(number)

    def _on_connected(self, opened: socket.socket) -> None:
        self._loop.remove_writer(opened)
        if self._failed(opened):
            return
        self.connected_at = self.connected_at or self._loop.time()
        self._connecting.remove(opened)
        self._connected.append(opened)
        self._loop.add_reader(opened, self._on_readable, opened)
        try:
            opened.send(f"{self._nonce}\n".encode())
        except OSError as error:
            _settle(self.answer, Answer.of_errno(error.errno or errno.EIO))

    def _on_readable(self, opened: socket.socket) -> None:
        try:
            line = opened.recv(LONGEST_ANSWER)  # a line of one small segment arrives whole
        except BlockingIOError:
            return
        except OSError as error:
            _settle(self.answer, Answer.of_errno(error.errno or errno.EIO))
            return
        identity = identity_in(line, self._nonce)
        if identity is not None:
            self.repeats = repeats_of(opened)
            _settle(self.answer, Answer(Outcome.ACCEPTED, identity))
        elif not line:
            _settle(self.answer, Answer(Outcome.REFUSED, reason="closed without an answer"))
        else:
            _settle(self.answer, Answer(Outcome.ERROR, reason="answered by something that is no listener"))


def connecting_socket(probe: Probe, kind: int) -> socket.socket:
    """A socket in the probe's namespace, bound to its source address and port."""
    opened = open_socket(probe.source.namespace, family_of(probe.destination), kind)
    try:
        if kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        if probe.source.address is not None or probe.source_port is not None:
            _bind(opened, probe)
    except BaseException:  # not ours to judge: the socket must not stay open
        opened.close()
        raise
    return opened


def _bind(opened: socket.socket, probe: Probe) -> None:
    if probe.source_port is None:
        # The port is chosen at connect, where only the pair of ends has to be unique.
        opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    else:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with inside(probe.source.namespace):
        if probe.source.address is not None:
            opened.bind(socket_address(probe.source.address, probe.source_port or 0))
        else:
            opened.bind(("" if opened.family == socket.AF_INET else "::", probe.source_port or 0))


def connect(opened: socket.socket, probe: Probe) -> int:
    """Begin to connect to the probe's destination; the errno, EINPROGRESS for a TCP connection under way."""
    if probe.port is None:
        return errno.EINVAL
    if not probe.destination.is_link_local:
        return opened.connect_ex(socket_address(probe.destination, probe.port))
    with inside(probe.source.namespace):  # the scope is a link of that namespace
        return opened.connect_ex(socket_address(probe.destination, probe.port))


def _settle(answer: asyncio.Future[Answer], with_what: Answer) -> None:
    if not answer.done():
        answer.set_result(with_what)
