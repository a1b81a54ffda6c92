"""HTTP for a probe or a scrape, with a limit on open connections that keeps nobody out.

Knows sockets and aiohttp. Knows nothing of what is served: the operator and the enforcer bring their applications.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

MOST_CONNECTIONS: Final = 64
"""At a time. Whoever reaches the port could otherwise use up the process's descriptors, and libnftables ends the process
when the number of one reaches 1024."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long requests that are being answered may take when serving ends."""


@asynccontextmanager
async def serving(application: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Listen for the length of the block; yields the address and port. Port 0 takes any free one. Raises OSError."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        server = await asyncio.get_running_loop().create_server(_bounded(runner), host, port)
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            # Not wait_closed: since Python 3.12 it waits for connections, and an idle one goes on for as long as it likes.
            server.close()
    finally:
        await runner.cleanup()


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
