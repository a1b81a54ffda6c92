"""HTTP for a probe or a scrape, with limits on open connections and on what answers cost that keep nobody out.

Knows sockets and aiohttp. Knows nothing of what is served: the operator and the enforcer bring their applications.
"""

import asyncio
import enum
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from policy_controller.logs.restraint import Restraint

MOST_CONNECTIONS: Final = 64
"""At a time. Whoever reaches the port could otherwise use up the process's descriptors, and libnftables ends the process
when the number of one reaches 1024."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long requests that are being answered may take when serving ends."""

EVERYWHERE: Final = "::"

ANSWERS_AT_ONCE: Final = 100.0
ANSWERS_EACH_SECOND: Final = 20.0
"""So often the answer to one question is made, at once and each second from then on; who asks more often is told what was
told last."""

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
class _Page:
    restraint: Restraint = field(
        default_factory=lambda: Restraint(time.monotonic, ANSWERS_AT_ONCE, ANSWERS_EACH_SECOND)
    )
    last: web.Response | None = None


@asynccontextmanager
async def serving(
    application: web.Application,
    host: str,
    port: int,
    note: Note = _nobody,
    asked: frozenset[str] = frozenset(),
) -> AsyncIterator[tuple[str, int]]:
    """Listen for the length of the block; yields the address and port. Port 0 takes any free one. Raises OSError.

    The host `::` stands for every address of both families. `note` is told of every bound that somebody meets. `asked`:
    paths whose answers depend on the query; they are made as often as somebody asks with one.
    """
    application.middlewares.append(_sparing(note, asked))
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


def _sparing(note: Note, asked: frozenset[str]) -> Middleware:
    """Makes answers to one question no more often than they may be made."""
    pages: dict[str, _Page] = {}

    @web.middleware
    async def spare(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.path
        if request.match_info.http_exception is not None or (request.query_string and name in asked):
            return await handler(request)
        if name not in pages and len(pages) >= MOST_ANSWERS:
            return await handler(request)
        page = pages.setdefault(name, _Page())
        if page.last is not None and not page.restraint.allows():
            note(Met.ANSWERS)
            return _again(page.last)
        response = await handler(request)
        if isinstance(response, web.Response):
            page.last = _again(response)
        return response

    return spare


def _again(answer: web.Response) -> web.Response:
    """The same answer for another request: each is sent once."""
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
