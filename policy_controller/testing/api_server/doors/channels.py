"""Forwarded ports as channels of a WebSocket: for each port one of data and one of errors.

Each message begins with the channel's number: 2n carries the data of the n-th port that was asked for, 2n+1 its errors.
The first message of each channel, from the server, is the port's number, 16 bits, least significant first. A port has
one connection, and the WebSocket ends with the first of them. Source: the kubelet's `v4.channel.k8s.io`, as kr8s and
the Python client of Kubernetes speak it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import WSMsgType, web

from policy_controller.testing.api_server.doors.dialling import Line, UnreachableError

PROTOCOL: Final = "v4.channel.k8s.io"
PIECE: Final = 32 * 1024
MESSAGE_LIMIT: Final = 4 * 1024 * 1024  # bytes; kr8s sends up to a mebibyte at once

Dial = Callable[[int], Awaitable[Line]]


async def forward(socket: web.WebSocketResponse, ports: Sequence[int], dial: Dial) -> None:
    """Forwards ports until one of their connections ends, or the client goes."""
    lines: list[Line] = []
    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        for index, port in enumerate(ports):
            try:
                lines.append(await dial(port))
            except UnreachableError as reason:
                said = f"an error occurred forwarding {port}: {reason}"
                await socket.send_bytes(bytes([2 * index + 1]) + said.encode())
                return
        flows = [asyncio.ensure_future(_up(socket, lines))]
        flows += [asyncio.ensure_future(_down(socket, 2 * index, line)) for index, line in enumerate(lines)]
        await _first_of(flows)
    except ConnectionError:
        # The client has gone: nobody is left to be told anything.
        return
    finally:
        for line in lines:
            await line.close()
        await socket.close()


async def _first_of(flows: Sequence[asyncio.Future[None]]) -> None:
    """Return, or raise, with the first that ends; the others are cancelled."""
    try:
        done, _ = await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        for flow in done:
            flow.result()
    finally:
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)


async def _up(socket: web.WebSocketResponse, lines: Sequence[Line]) -> None:
    """From the client to its connections."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        index, odd = divmod(message.data[0], 2)
        if not odd and index < len(lines):
            lines[index].writer.write(message.data[1:])
            await lines[index].writer.drain()


async def _down(socket: web.WebSocketResponse, channel: int, line: Line) -> None:
    """From a connection to the client."""
    with contextlib.suppress(ConnectionResetError):
        while piece := await line.reader.read(PIECE):
            await socket.send_bytes(bytes([channel]) + piece)
