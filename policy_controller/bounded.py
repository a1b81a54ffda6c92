"""HTTP for a probe or a scrape, with a limit on open connections that keeps nobody out.

Knows sockets and aiohttp. Knows nothing of what is served: the operator and the enforcer bring their applications.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

MOST_CONNECTIONS: Final = 64
"""At a time. Whoever reaches the port could otherwise use up the process's descriptors, and libnftables ends the process
when the number of one reaches 1024."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long requests that are being answered may take when serving ends."""

EVERYWHERE: Final = "::"


@asynccontextmanager
async def serving(application: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Listen for the length of the block; yields the address and port. Port 0 takes any free one. Raises OSError.

    The host `::` stands for every address of both families.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        loop, accept = asyncio.get_running_loop(), _bounded(runner)
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


def _bounded(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """Accepts connections and lets the oldest go when there are too many, so that a kubelet always gets in."""

    def accept() -> asyncio.Protocol:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        crowd = runner.server.connections
        for oldest in crowd[: len(crowd) + 1 - MOST_CONNECTIONS]:
            # Not closed: that waits until the peer has read its answer, and a peer that does not would stay for ever.
            if oldest.transport is not None:
                oldest.transport.abort()
        return runner.server()

    return accept
