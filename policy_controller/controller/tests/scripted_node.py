"""A node's end of the stream, played by a test: proves who it is, says hello, applies in memory, answers as the script says.

Knows the wire. Knows nothing of the operator's inside.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from compilers.ruleset.delta import apply
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import channel
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator, encode_node
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Hello,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    SnapshotMessage,
)

PATIENCE_SECONDS = 10.0

Stream = grpc.aio.StreamStreamCall[pb.NodeMessage, pb.OperatorMessage]


@dataclass
class ScriptedNode:
    """One open stream. `rule_set` is what the node would enforce, `heard` every message it got."""

    name: str
    stream: Stream
    rule_set: RuleSet | None = None
    heard: list[OperatorMessage] = field(default_factory=list)

    async def say(self, message: NodeMessage) -> None:
        """Send a message as it is."""
        await self.stream.write(encode_node(message))

    async def hear(self) -> OperatorMessage:
        """The next message; fails the test when none comes. The stream's end raises grpc.aio.AioRpcError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await self.stream.read()
        assert isinstance(message, pb.OperatorMessage), "the stream ended without a status"
        self.heard.append(decode_operator(message))
        return self.heard[-1]

    async def apply(self) -> OperatorMessage:
        """Hear a message, apply it in memory and acknowledge it."""
        message = await self.hear()
        await self.acknowledge(message)
        return message

    async def acknowledge(self, message: OperatorMessage) -> None:
        """Apply a message in memory and say so."""
        match message:
            case SnapshotMessage(rule_set=rule_set):
                self.rule_set = rule_set
            case DeltaMessage(delta=delta):
                assert self.rule_set is not None
                self.rule_set = apply(delta, self.rule_set)
        assert self.rule_set is not None
        await self.say(Ack(message.generation, digest_of(self.rule_set)))

    async def refuse(self, message: OperatorMessage, cause: NackCause = NackCause.KERNEL) -> None:
        """Say that the message is not in force."""
        await self.say(Nack(message.generation, cause, "table", "Device or resource busy", 0))

    async def until(self, wanted: RuleSet) -> None:
        """Apply messages until the node enforces what is wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.rule_set != wanted:
                await self.apply()

    async def ending(self) -> grpc.aio.AioRpcError:
        """The error with which the operator ends the stream; messages before it are passed over."""
        try:
            while True:
                await self.hear()
        except grpc.aio.AioRpcError as error:
            return error


@dataclass(frozen=True)
class Door:
    """Where nodes reach an operator, whom they believe there, and each one's token."""

    address: channel.HostPort
    trust: channel.Trust
    token_of: Callable[[str], str]


@asynccontextmanager
async def open_stream(
    door: Door, messages: Iterable[pb.NodeMessage] = (), token: str = ""
) -> AsyncIterator[Stream]:
    """A stream on which these messages have been sent, with this token or with node-a's."""
    bearer = channel.BEARER + (token or door.token_of("node-a"))
    async with channel.secure_connect(door.address, door.trust) as connection:
        stream = EnforcementStub(connection).Enforce(metadata=((channel.AUTHORIZATION, bearer),))
        for message in messages:
            await stream.write(message)
        try:
            yield stream
        finally:
            stream.cancel()


@asynccontextmanager
async def node(door: Door, name: str) -> AsyncIterator[ScriptedNode]:
    """A node that has said hello."""
    async with open_stream(door, [encode_node(Hello(name))], door.token_of(name)) as stream:
        yield ScriptedNode(name, stream)
