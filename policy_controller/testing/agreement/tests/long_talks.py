"""Connections on which one end or both go on speaking, and what the other end heard of it until when.

Knows sockets of two network namespaces. Knows no policy, and nothing of what should be heard.
"""

import asyncio
import enum
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from compilers.model.words import Address
from policy_controller.testing.probe import Transport
from policy_controller.testing.probe.sockets import family_of, open_socket, socket_address

WORD: Final = b"one more word\n"
EVERY: Final = 0.05
"""Seconds between two words."""
LONG: Final = 20.0
"""Seconds for what must happen."""
KINDS: Final = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}


class Speaker(enum.Enum):
    """Who goes on speaking, once both have spoken."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class End:
    """One address in a network namespace."""

    namespace: str
    address: Address


@dataclass(eq=False, slots=True)
class Line:
    """What one end says to the other: bytes; `last` is when something was heard, `error` what told the speaker of the end."""

    speaker: Speaker
    mouth: socket.socket
    ear: socket.socket
    said: int = 0
    heard: int = 0
    last: float = 0.0
    error: OSError | None = None

    async def speak(self, stop: asyncio.Event) -> None:
        """Say a word every now and then, until told to stop or told that it is in vain."""
        while not stop.is_set():
            try:
                self.said += self.mouth.send(WORD)
            except BlockingIOError:
                pass
            except OSError as error:
                self.error = error
                return
            await asyncio.sleep(EVERY)

    async def listen(self) -> None:
        """Hear, as long as there is a connection."""
        try:
            while received := await asyncio.get_running_loop().sock_recv(self.ear, 1 << 16):
                self.heard += len(received)
                self.last = time.monotonic()
        except OSError:
            return


@dataclass(frozen=True, slots=True)
class Spec:
    """A conversation that is to be: its way by name, the ends, the address that is called, and who goes on speaking."""

    way: str
    transport: Transport
    client: End
    server: End
    called: Address
    port: int
    speaker: Speaker

    def __str__(self) -> str:
        version = self.called.version
        return f"{self.way}, {self.transport.value} over IPv{version}, port {self.port}, {self.speaker.value} speaking"


@dataclass(frozen=True, slots=True)
class LongTalk:
    """An open connection; one line for each end that speaks."""

    spec: Spec
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class LongTalks:
    """Several at once. They speak until `fall_silent`."""

    talks: tuple[LongTalk, ...]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def lines(self) -> Iterable[tuple[Spec, Line]]:
        """Every line with its conversation."""
        return ((talk.spec, line) for talk in self.talks for line in talk.lines)

    def fall_silent(self) -> None:
        """Nobody says anything more."""
        self._stop.set()

    async def run(self) -> None:
        """Speak and listen, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _, line in self.lines():
                group.create_task(line.listen())
                group.create_task(line.speak(self._stop))


@asynccontextmanager
async def long_talks(specs: Iterable[Spec]) -> AsyncIterator[LongTalks]:
    """Every conversation open, and both ends of each heard."""
    with ExitStack() as opened:
        talks = LongTalks(tuple([await _open(spec, opened) for spec in specs]))
        task = asyncio.create_task(talks.run())
        try:
            yield talks
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _open(spec: Spec, opened: ExitStack) -> LongTalk:
    loop, kind = asyncio.get_running_loop(), KINDS[spec.transport]
    calling, answering = (
        opened.enter_context(open_socket(end.namespace, family_of(end.address), kind))
        for end in (spec.client, spec.server)
    )
    answering.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    answering.bind(socket_address(spec.server.address, spec.port))
    calling.bind(socket_address(spec.client.address, 0))
    async with asyncio.timeout(LONG):
        if spec.transport is Transport.TCP:
            answering.listen()
            await loop.sock_connect(calling, socket_address(spec.called, spec.port))
            answering = opened.enter_context((await loop.sock_accept(answering))[0])
            answering.setblocking(False)
            calling.send(WORD)
        else:
            calling.connect(socket_address(spec.called, spec.port))
            calling.send(WORD)
            _, caller = await loop.sock_recvfrom(answering, len(WORD))
            answering.connect(caller)
            calling.send(WORD)
        assert await loop.sock_recv(answering, len(WORD)) == WORD
        answering.send(WORD)
        assert await loop.sock_recv(calling, len(WORD)) == WORD
    ends = {Speaker.CLIENT: (calling, answering), Speaker.SERVER: (answering, calling)}
    speaking = ends if spec.speaker is Speaker.BOTH else [spec.speaker]
    return LongTalk(spec, tuple(Line(speaker, *ends[speaker]) for speaker in speaking))
