"""A connection that stays open, over which a line is exchanged now and then.

It proves what established connections do when policies change. Knows one TCP connection.
"""

import asyncio
import errno
import secrets
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.probe.attention import AttentiveClock
from policy_controller.testing.probe.exchanges import connect, connecting_socket, identity_in
from policy_controller.testing.probe.model import Answer, Outcome, Probe, ProbeError, ProbeResult
from policy_controller.testing.probe.sockets import repeats_of

EXCHANGE_TIMEOUT: Final = 1.0
"""Attentive seconds; TCP repeats a lost segment after 0.2 s and 0.6 s."""
LONGEST_READ: Final = 4096


class Conversation:
    """A TCP connection to a listener. Made by Prober.converse; close it or use it as a context manager."""

    def __init__(self, probe: Probe, clock: AttentiveClock) -> None:
        self.probe = probe
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._unread = b""
        self._nonce = ""
        self._answer: asyncio.Future[Answer] = self._loop.create_future()
        try:
            self._socket = connecting_socket(probe, socket.SOCK_STREAM)
        except OSError as error:
            raise ProbeError(f"no connection from {probe.source.namespace}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def source_port(self) -> int:
        """The connection's port at the source."""
        return int(self._socket.getsockname()[1])

    async def open(self, within: float) -> None:
        """Connect and exchange a first line. Raises ProbeError if that fails or takes longer."""
        connected: asyncio.Future[None] = self._loop.create_future()
        number = connect(self._socket, self.probe)
        if number == errno.EINPROGRESS:
            self._loop.add_writer(self._socket, _once(connected))
            await self._clock.answered(connected, within)
            self._loop.remove_writer(self._socket)
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            number = number or (0 if connected.done() else errno.ETIMEDOUT)
        if number:
            self.close()
            answer = Answer.of_errno(number)
            raise ProbeError(
                f"no connection to {self.probe.destination}: {answer.outcome.value} ({answer.reason})"
            )
        self._loop.add_reader(self._socket, self._on_readable)
        first = await self.exchange(within)
        if first.outcome is not Outcome.ACCEPTED:
            self.close()
            raise ProbeError(
                f"{self.probe.destination} is no listener: {first.outcome.value} ({first.reason})"
            )

    async def exchange(self, within: float = EXCHANGE_TIMEOUT) -> ProbeResult:
        """Send a line and await its echo: accepted, timed out (silence), or refused (the connection has ended).

        The kernel goes on repeating an unanswered line, so a connection that is let through again recovers.
        """
        self._nonce = secrets.token_hex(8)
        self._answer = self._loop.create_future()
        sent_at, repeats_before = time.monotonic(), repeats_of(self._socket)
        try:
            self._socket.send(f"{self._nonce}\n".encode())
        except OSError as error:
            answer = Answer.of_errno(error.errno or errno.EIO)
        else:
            silent = not await self._clock.answered(self._answer, within)
            answer = Answer(Outcome.TIMED_OUT, reason="no echo") if silent else self._answer.result()
        elapsed = (time.monotonic() - sent_at) * 1000
        repeats = repeats_of(self._socket) - repeats_before
        return ProbeResult(
            self.probe, answer.outcome, answer.peer, answer.reason, sent_at, elapsed, repeats=repeats
        )

    def close(self) -> None:
        """Reset the connection. Closing twice is closing once."""
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _on_readable(self) -> None:
        try:
            received = self._socket.recv(LONGEST_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(Answer.of_errno(error.errno or errno.EIO))
            return
        if not received:
            self._end(Answer(Outcome.REFUSED, reason="closed by the listener"))
            return
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:  # echoes of earlier lines that took too long are passed over
            identity = identity_in(line, self._nonce)
            if identity is not None and not self._answer.done():
                self._answer.set_result(Answer(Outcome.ACCEPTED, identity))

    def _end(self, answer: Answer) -> None:
        self._loop.remove_reader(self._socket)
        if not self._answer.done():
            self._answer.set_result(answer)


def _once(connected: asyncio.Future[None]) -> Callable[[], None]:
    def settle() -> None:
        if not connected.done():
            connected.set_result(None)

    return settle
