"""An operator that says what a test tells it to, over a real server on a Unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc.aio

from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import listen, new_server
from policy_controller.wire.convert import decode_node, encode_operator
from policy_controller.wire.enforcement_pb2_grpc import EnforcementServicer, add_EnforcementServicer_to_server
from policy_controller.wire.messages import Hello, NodeMessage, OperatorMessage

DEADLINE = 10.0
Result = TypeVar("Result")


class Stream:
    """One node's stream, as the operator sees it."""

    def __init__(self, context: "grpc.aio.ServicerContext[pb.NodeMessage, pb.OperatorMessage]") -> None:
        self._context = context
        self.heard: asyncio.Queue[NodeMessage] = asyncio.Queue()
        self.over = asyncio.Event()

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


@asynccontextmanager
async def serving(address: str) -> AsyncIterator[OperatorDouble]:
    """An operator that listens at the address for the length of the block."""
    double, server = OperatorDouble(), new_server()
    add_EnforcementServicer_to_server(double, server)
    listen(server, address)
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
