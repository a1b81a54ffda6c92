"""The API server's place in a laboratory: a host beyond the nodes that passes every byte on to the real one.

Knows sockets. Does not look into what it passes: TLS is between the server and its clients.
"""

import asyncio
import socket
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.laboratory import Laboratory, inside
from policy_controller.testing.laboratory.addresses import OUTSIDE4, OUTSIDE6

HOST: Final = "control-plane"
ADDRESSES: Final = (OUTSIDE4[6], OUTSIDE6[6])
PORT: Final = 6443
CLUSTER_IP: Final = "10.96.0.1"
"""The address of the Service `kubernetes`, the first of the usual range; the server's certificate must name it."""
CLUSTER_PORT: Final = 443
PIECE: Final = 1 << 16


class Relay:
    """Listens on ADDRESSES, port PORT; an async context manager. `host` and `port` are where the API server listens."""

    def __init__(self, laboratory: Laboratory, host: str, port: int) -> None:
        self._laboratory = laboratory
        self._upstream = (host, port)
        self._servers: list[asyncio.Server] = []
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        built = await asyncio.to_thread(self._laboratory.add_outside, HOST, ADDRESSES)
        for address in ADDRESSES:
            with inside(built.namespace):
                listener = socket.create_server(
                    (str(address), PORT),
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    backlog=128,
                )
            self._servers.append(await asyncio.start_server(self._met, sock=listener))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def lead_to(self, host: str, port: int) -> None:
        """From now on it leads elsewhere; connections that stand end."""
        self._upstream = (host, port)
        self.cut()

    def cut(self) -> None:
        """Connections that stand end; new ones are passed on."""
        for task in self._passing:
            task.cancel()

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="relay")
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = ((reader, there[1]), (there[0], writer))
        try:
            async with asyncio.TaskGroup() as group:
                for source, sink in both:
                    group.create_task(_pass(source, sink))
        finally:
            # Which side ended does not matter to the other: it may not wait for bytes that never come.
            for _, sink in both:
                sink.transport.abort()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
        sink.write_eof()
    except OSError:
        # A connection that breaks on one side breaks on the other: whoever is there would wait for ever.
        sink.transport.abort()
