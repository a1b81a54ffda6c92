"""One TCP connection whose two ends both belong to the test, so that either may speak first."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from compilers.model.words import Address
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.probe.sockets import family_of, open_socket, socket_address

PATIENCE: Final = 1.5
"""Seconds until an end that has heard nothing is said to hear nothing; the kernel repeats itself after 0.2 s and 0.6 s."""
LONG: Final = 20.0
"""Seconds for what must come; the kernel's repetitions may by then be seconds apart."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Both ends of an open connection."""

    client: socket.socket
    server: socket.socket

    async def hears(self, speaker: socket.socket, words: bytes, within: float = PATIENCE) -> bool:
        """Whether the other end hears all the words that the speaker says now; what it missed before comes first."""
        listener = self.client if speaker is self.server else self.server
        said = asyncio.create_task(asyncio.get_running_loop().sock_sendall(speaker, words))
        heard = await self.received(listener, len(words), within)
        said.cancel()
        return heard

    async def received(self, listener: socket.socket, count: int, within: float = PATIENCE) -> bool:
        """Whether an end receives so many bytes."""
        try:
            async with asyncio.timeout(within):
                while count:
                    count -= len(await asyncio.get_running_loop().sock_recv(listener, count))
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def talking(stage: Stage, client: Address, server: Address, port: int) -> AsyncIterator[Talk]:
    """A connection from one address of the stage to a port of another that nobody listens on yet."""
    loop = asyncio.get_running_loop()
    family = family_of(server)
    listening = open_socket(stage.endpoint(server).namespace, family, socket.SOCK_STREAM)
    with listening, open_socket(stage.endpoint(client).namespace, family, socket.SOCK_STREAM) as calling:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(socket_address(server, port))
        listening.listen()
        calling.bind(socket_address(client, 0))
        async with asyncio.timeout(LONG):
            await loop.sock_connect(calling, socket_address(server, port))
            answering, _ = await loop.sock_accept(listening)
        with answering:
            answering.setblocking(False)
            yield Talk(calling, answering)
