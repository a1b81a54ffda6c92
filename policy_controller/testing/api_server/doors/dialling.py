"""A connection to a port of a pod's loopback.

Knows sockets and network namespaces: a socket belongs for good to the namespace it is made in, so entering it for the
time of one system call is enough. Knows nothing of who forwards what.
"""

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.doors.registry import Door

LOOPBACKS: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""As container runtimes try them."""

CONNECT_SECONDS: Final = 10.0


class UnreachableError(Exception):
    """Nobody answers; the text names the port and the reason."""


@dataclass(frozen=True, slots=True)
class Line:
    """A connection, both ways."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """End it, whatever is still to come."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def dial(door: Door, port: int) -> Line:
    """A connection to a port.

    Raises:
        UnreachableError: no such network namespace, or nobody listens there.
    """
    reasons = []
    for family, address in LOOPBACKS:
        try:
            made = _socket_in(door.netns, family)
        except OSError as fault:
            raise UnreachableError(f"network namespace {door.netns}: {fault.strerror}") from fault
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
            return Line(*await asyncio.open_connection(sock=made))
        except (OSError, TimeoutError) as fault:
            made.close()
            # asyncio puts words of its own before the kernel's, and a timeout has none.
            reason = os.strerror(fault.errno) if fault.errno else "no answer"
            reasons.append(f"{address}: {reason}")
    where = "the server's own network" if door.netns is None else f"network namespace {door.netns}"
    raise UnreachableError(f"failed to connect to localhost:{port} inside {where}: {', '.join(reasons)}")


def _socket_in(netns: str | None, family: socket.AddressFamily) -> socket.socket:
    if netns is None:
        return socket.socket(family, socket.SOCK_STREAM)
    # Here, since the laboratory brings along more than a server needs that nobody forwards ports of.
    from policy_controller.testing.laboratory.netns import LaboratoryError, inside

    try:
        with inside(netns):
            return socket.socket(family, socket.SOCK_STREAM)
    except LaboratoryError as fault:
        raise OSError(0, "there is none of this name") from fault
