"""HTTP for a probe or a scrape, with limits on open connections and on what answers cost that keep nobody out.

Knows sockets and aiohttp. Knows nothing of what is served: the operator and the enforcer bring their applications.
"""

import asyncio
import enum
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

MOST_CONNECTIONS: Final = 64
"""At a time. Whoever reaches the port could otherwise use up the process's descriptors, and libnftables ends the process
when the number of one reaches 1024."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long requests that are being answered may take when serving ends."""

EVERYWHERE: Final = "::"

PAUSE: Final = 2.0
"""How many times as long as it took to make an answer it is given to all who ask the same: whoever asks without end costs a
third of one processor, and nobody is told what was true long ago."""

MOST_ANSWERS: Final = 16
"""Kept to be given again; there are fewer pages."""


class Met(enum.Enum):
    """Which bound somebody met."""

    CONNECTIONS = "connections"
    ANSWERS = "answers"


Note = Callable[[Met], None]


def _nobody(_: Met) -> None:
    """Nobody counts."""


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str]
    until: float


@asynccontextmanager
async def serving(
    application: web.Application, host: str, port: int, note: Note = _nobody
) -> AsyncIterator[tuple[str, int]]:
    """Listen for the length of the block; yields the address and port. Port 0 takes any free one. Raises OSError.

    The host `::` stands for every address of both families. `note` is told of every bound that somebody meets.
    """
    application.middlewares.append(_sparing(note))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        loop, accept = asyncio.get_running_loop(), _bounded(runner, note)
        if host == EVERYWHERE:
            server = await loop.create_server(accept, sock=_both_families(port))
        else:
            server = await loop.create_server(accept, host, port)
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            # Not wait_closed: since Python 3.12 it waits for connections, and an idle one goes on for as long as it likes.
            server.close()
    finally:
        await runner.cleanup()


def _both_families(port: int) -> socket.socket:
    # asyncio makes a socket of `::` for IPv6 alone, and a kubelet asks by the family of its pods. A node may have no IPv6.
    if socket.has_dualstack_ipv6():
        return socket.create_server((EVERYWHERE, port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - asked for


def _bounded(runner: web.AppRunner, note: Note) -> Callable[[], asyncio.Protocol]:
    """Accepts connections and lets the oldest go when there are too many, so that a kubelet always gets in."""

    def accept() -> asyncio.Protocol:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        crowd = runner.server.connections
        for oldest in crowd[: len(crowd) + 1 - MOST_CONNECTIONS]:
            # Not closed: that waits until the peer has read its answer, and a peer that does not would stay for ever.
            if oldest.transport is not None:
                oldest.transport.abort()
                note(Met.CONNECTIONS)
        return runner.server()

    return accept


def _sparing(note: Note) -> Middleware:
    """Makes an answer once for all who ask for the same page while it is made, and for a little while after."""
    kept: dict[str, _Answer] = {}
    turns: dict[str, asyncio.Lock] = {}

    @web.middleware
    async def spare(request: web.Request, handler: Handler) -> web.StreamResponse:
        page = request.path
        if request.query_string or request.method != "GET" or request.match_info.http_exception is not None:
            return await handler(request)
        if page not in turns and len(turns) >= MOST_ANSWERS:
            return await handler(request)
        async with turns.setdefault(page, asyncio.Lock()):
            begin, answer = time.monotonic(), kept.get(page)
            if answer is not None and begin < answer.until:
                note(Met.ANSWERS)
                return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
            response = await handler(request)
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                end = time.monotonic()
                headers = dict(response.headers)
                kept[page] = _Answer(response.status, response.body, headers, end + PAUSE * (end - begin))
            return response

    return spare
