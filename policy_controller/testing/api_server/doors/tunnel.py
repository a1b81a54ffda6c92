"""Forwarded ports as streams of SPDY/3.1 within a WebSocket, as kubectl asks for them.

For each connection the client opens two streams with the same `requestid`: one for errors, which it only reads, and
one for data. Knows which streams belong together. Source: `SPDY/3.1+portforward.k8s.io` (KEP 4006) and the kubelet's
port forwarding.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from aiohttp import WSMsgType, web

from policy_controller.testing.api_server.doors.channels import Dial
from policy_controller.testing.api_server.doors.dialling import Line, UnreachableError
from policy_controller.testing.api_server.doors.spdy import (
    PIECE,
    Data,
    Finished,
    Frame,
    Opened,
    Ping,
    Reader,
    Reset,
    SpdyError,
    Writer,
)

PROTOCOL: Final = "SPDY/3.1+portforward.k8s.io"
_ERROR: Final = "error"
CONNECTIONS: Final = 256
"""How many a client may have at once."""


@dataclass(slots=True)
class _Connection:
    """One connection: its two streams, what the client has sent, and the task that carries it."""

    errors: int
    data: int
    port: int
    sent: asyncio.Queue[bytes | None]
    task: asyncio.Task[None] | None = None


class Tunnel:
    """The connections of one client."""

    def __init__(self, socket: web.WebSocketResponse, dial: Dial) -> None:
        self._socket = socket
        self._dial = dial
        self._reader, self._writer = Reader(), Writer()
        self._errors: dict[str, int] = {}
        self._connections: dict[int, _Connection] = {}

    async def run(self) -> None:
        """Forwards connections until the client goes."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    for frame in self._reader.feed(message.data):
                        await self._take(frame)
        except (ConnectionError, SpdyError):
            # The client has gone, or speaks another language: either way it is told nothing more.
            return
        finally:
            tasks = [one.task for one in self._connections.values() if one.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._socket.close()

    async def _take(self, frame: Frame) -> None:
        match frame:
            case Opened(stream, headers):
                await self._open(stream, dict(headers))
            case Data(stream, content) if stream in self._connections:
                await self._connections[stream].sent.put(content)
            case Finished(stream) if stream in self._connections:
                await self._connections[stream].sent.put(None)
            case Reset(stream) if stream in self._connections:
                task = self._connections[stream].task
                if task is not None:
                    task.cancel()
            case Ping(number):
                await self._socket.send_bytes(self._writer.pong(number))
            case _:
                pass

    async def _open(self, stream: int, headers: dict[str, str]) -> None:
        request, port = headers.get("requestid", ""), headers.get("port", "")
        if not (port.isascii() and port.isdecimal()):
            raise SpdyError("a stream without a port")
        await self._socket.send_bytes(self._writer.accept(stream))
        if len(self._errors) + len(self._connections) >= CONNECTIONS:
            raise SpdyError("too many connections")
        if headers.get("streamtype") == _ERROR:
            self._errors[request] = stream
            return
        if request not in self._errors or stream in self._connections:
            raise SpdyError("data without a stream for errors, or two streams of one number")
        opened = _Connection(self._errors.pop(request), stream, int(port), asyncio.Queue(maxsize=8))
        self._connections[stream] = opened
        opened.task = asyncio.ensure_future(self._carry(opened))
        # A task that is cancelled before it has begun does not come to its own `finally`.
        opened.task.add_done_callback(lambda _: self._forget(opened))

    def _forget(self, connection: _Connection) -> None:
        """Read over what comes for a connection from now on; whoever waits to hand it something waits no more."""
        self._connections.pop(connection.data, None)
        while not connection.sent.empty():
            connection.sent.get_nowait()

    async def _carry(self, connection: _Connection) -> None:
        """One connection from its beginning to its end. Errors come before the end of data, which is waited for."""
        line: Line | None = None
        try:
            line = await self._dial(connection.port)
            up = asyncio.ensure_future(_up(connection, line))
            try:
                await self._down(connection, line)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        except UnreachableError as reason:
            said = f"error forwarding port {connection.port}: {reason}"
            await self._socket.send_bytes(self._writer.data(connection.errors, said.encode()))
        finally:
            self._forget(connection)
            if line is not None:
                await line.close()
            with contextlib.suppress(ConnectionError):
                for stream in (connection.errors, connection.data):
                    await self._socket.send_bytes(self._writer.finish(stream))

    async def _down(self, connection: _Connection, line: Line) -> None:
        """From the pod to the client."""
        with contextlib.suppress(ConnectionResetError):
            while piece := await line.reader.read(PIECE):
                await self._socket.send_bytes(self._writer.data(connection.data, piece))


async def _up(connection: _Connection, line: Line) -> None:
    """From the client to the pod, until the client has no more to say."""
    open_ = True
    while (piece := await connection.sent.get()) is not None:
        # What the pod does not take any more is taken for it: other connections come over the same WebSocket.
        if open_:
            try:
                line.writer.write(piece)
                await line.writer.drain()
            except OSError:
                open_ = False
    if open_:
        with contextlib.suppress(OSError):
            line.writer.write_eof()
