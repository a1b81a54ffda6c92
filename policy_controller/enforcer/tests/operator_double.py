"""An operator that says what a test tells it to, over a real server; and the files by which enforcers reach it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio

from policy_controller.enforcer.credentials import CredentialFiles, Way
from policy_controller.testing.credentials import SERVER_NAME, Authority
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import AUTHORIZATION, Certificate, HostPort, new_server, secure_listen
from policy_controller.wire.convert import decode_node, encode_operator
from policy_controller.wire.enforcement_pb2_grpc import EnforcementServicer, add_EnforcementServicer_to_server
from policy_controller.wire.messages import Hello, NodeMessage, OperatorMessage

DEADLINE = 10.0
Result = TypeVar("Result")
FIRST_TOKEN = "first-secret-of-the-node"
LOOPBACK = HostPort("127.0.0.1", 0)


class Site:
    """Where an operator of an authority can be found, and what an enforcer is given to find it."""

    def __init__(self, folder: Path, operator: HostPort, server_name: str = SERVER_NAME) -> None:
        self.authority = Authority()
        self.state = folder / "state"
        self.way = Way(operator, CredentialFiles(folder / "ca.crt", folder / "token", server_name))
        self.give_ca(self.authority.pem)
        self.give_token(FIRST_TOKEN)

    def give_ca(self, content: bytes) -> None:
        """The file of the authorities is replaced, as a kubelet does it."""
        _replace(self.way.files.ca, content)

    def give_token(self, text: str) -> None:
        """The file of the token is replaced."""
        _replace(self.way.files.token, text.encode())

    def flags(self) -> tuple[str, ...]:
        """What the enforcer's command is told."""
        files = self.way.files
        return (
            *("--operator", str(self.way.operator), "--server-name", files.server_name),
            *("--ca", str(files.ca), "--token", str(files.token)),
            *("--state-directory", str(self.state)),
        )


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


@contextmanager
def reserved() -> Iterator[HostPort]:
    """An address of this machine on which nobody listens but who is told of it."""
    with socket.socket() as held:
        # Servers of gRPC set it too, so they may listen beside this socket, which does not.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((LOOPBACK.host, LOOPBACK.port))
        yield HostPort(*held.getsockname())


class Stream:
    """One node's stream, as the operator sees it."""

    def __init__(self, context: "grpc.aio.ServicerContext[pb.NodeMessage, pb.OperatorMessage]") -> None:
        self._context = context
        self.heard: asyncio.Queue[NodeMessage] = asyncio.Queue()
        self.over = asyncio.Event()
        self.status = (grpc.StatusCode.OK, "")

    @property
    def authorization(self) -> str:
        """What the node showed as the stream began."""
        return str(dict(self._context.invocation_metadata() or ())[AUTHORIZATION])

    async def hear(self) -> NodeMessage:
        """The next thing the node says."""
        return await asyncio.wait_for(self.heard.get(), DEADLINE)

    async def say(self, message: OperatorMessage) -> NodeMessage:
        """What the node answers to a message."""
        return await self.say_raw(encode_operator(message))

    async def say_raw(self, message: pb.OperatorMessage) -> NodeMessage:
        """The same for a message that may be anything."""
        await self._context.write(message)
        return await self.hear()

    def end(self) -> None:
        """Hang up."""
        self.over.set()

    def refuse(self, code: grpc.StatusCode, reason: str) -> None:
        """Hang up and say why."""
        self.status = (code, reason)
        self.over.set()

    async def listen(self) -> None:
        """Hear what the node says until it is over."""
        async for message in self._messages():
            self.heard.put_nowait(decode_node(message))

    async def _messages(self) -> AsyncIterator[pb.NodeMessage]:
        while True:
            message: Any = await self._context.read()
            if message is grpc.aio.EOF:
                return
            yield message


class OperatorDouble(EnforcementServicer):
    """Hands every stream to the test."""

    def __init__(self) -> None:
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()

    async def next_stream(self) -> tuple[Stream, Hello]:
        """The next stream that a node begins, and its hello."""
        stream = await asyncio.wait_for(self._streams.get(), DEADLINE)
        hello = await stream.hear()
        assert isinstance(hello, Hello)
        return stream, hello

    async def Enforce(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ANN401, N802  # the stub's type is of generators, its name is gRPC's
        stream = Stream(context)
        self._streams.put_nowait(stream)
        listening = asyncio.create_task(stream.listen())
        ending = asyncio.create_task(stream.over.wait())
        await asyncio.wait((listening, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, ending):
            task.cancel()
        if stream.status[0] is not grpc.StatusCode.OK:
            await context.abort(*stream.status)


def beside(listen: Callable[[], int]) -> int:
    """Listen where the test is."""
    return listen()


@asynccontextmanager
async def serving(
    site: Site, where: Callable[[Callable[[], int]], int] = beside, certificate: Certificate | None = None
) -> AsyncIterator[OperatorDouble]:
    """An operator that listens where the site says for the length of the block; `where` listens in another namespace.

    Without a certificate it has a new one of the site's authority.
    """
    double, server = OperatorDouble(), new_server()
    add_EnforcementServicer_to_server(double, server)
    shown = certificate or site.authority.certificate()
    where(lambda: secure_listen(server, site.way.operator, lambda: shown))
    await server.start()
    try:
        yield double
    finally:
        await server.stop(grace=0)


async def until(condition: Any) -> None:  # noqa: ANN401 - any callable whose result is tested for truth
    """Wait until the condition holds; fails after a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - a condition of the kernel or of another process sets no event
            await asyncio.sleep(0.005)
