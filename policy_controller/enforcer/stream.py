"""The conversation with the operator over gRPC: says hello, hands on what arrives, sends what is answered, for ever.

Knows channels, streams and waiting between them. Knows nothing of what messages mean.
"""

import asyncio
from random import Random
from typing import Final

import grpc
import grpc.aio

from policy_controller.clock import Clock
from policy_controller.enforcer.credentials import (
    LOOK_SECONDS,
    CredentialFiles,
    NotThereYet,
    Way,
    obtain,
)
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.reach import Reach, Setback, setback
from policy_controller.enforcer.reports import Reports
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import AUTHORIZATION, BEARER, secure_connect
from policy_controller.wire.convert import encode_node
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub
from policy_controller.wire.messages import FreshToken, NodeMessage

SHORTEST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 20.0

Call = grpc.aio.StreamStreamCall[pb.NodeMessage, pb.OperatorMessage]


class Backoff:
    """Seconds to wait before each further attempt: twice as many each time, and a random part of them.

    The random part keeps the nodes of a cluster from coming back all at once. Only a stream that lasted longer than the
    last wait begins anew: two ends that do not understand each other would meet without a pause.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._longest = SHORTEST_WAIT

    def ended(self, lasted: float | None) -> None:
        """A stream is over, so many seconds after the operator's first word; None when there was none."""
        if lasted is not None and lasted >= self._longest:
            self._longest = SHORTEST_WAIT

    def next_wait(self) -> float:
        """Seconds until the next attempt."""
        longest = self._longest
        self._longest = min(2 * longest, LONGEST_WAIT)
        return self._random.uniform(longest / 2, longest)


def enforce_call(channel: grpc.aio.Channel, token: str) -> Call:
    """A call that shows this token."""
    return EnforcementStub(channel).Enforce(metadata=((AUTHORIZATION, BEARER + token),))


async def follow(
    way: Way, enforcement: Enforcement, reach: Reach, reports: Reports, clock: Clock, random: Random
) -> None:
    """Keep a stream to the operator, and do what it says. Ends only by cancellation."""
    backoff = Backoff(random)
    while True:
        credentials = await obtain(way.files, clock, reach.wait_for)
        async with secure_connect(way.operator, credentials.trust) as channel:
            conversation = Conversation(channel, enforcement, reach, reports, backoff)
            try:
                reach.fail(way, await conversation.hold(credentials.token, way.files, clock))
            finally:
                enforcement.end_stream()
        await clock.sleep(backoff.next_wait())


class Conversation:
    """One stream: what arrives is carried out and answered, and between the answers fresh tokens are shown and reports told."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        enforcement: Enforcement,
        reach: Reach,
        reports: Reports,
        backoff: Backoff,
    ) -> None:
        self._channel = channel
        self._enforcement = enforcement
        self._reach = reach
        self._reports = reports
        self._backoff = backoff
        self._turn = asyncio.Lock()
        self._welcome = asyncio.Event()

    async def hold(self, token: str, files: CredentialFiles, clock: Clock) -> Setback:
        """Begin a stream with this token and keep it; returns why it has ended."""
        call = enforce_call(self._channel, token)
        async with asyncio.TaskGroup() as group:
            beside = (
                group.create_task(self._show_tokens(call, token, files, clock)),
                group.create_task(self._tell_reports(call)),
            )
            try:
                return await self._converse(call, clock)
            finally:
                for task in beside:
                    task.cancel()

    async def _converse(self, call: Call, clock: Clock) -> Setback:
        welcomed: float | None = None
        try:
            await self._write(call, self._enforcement.begin_stream())
            self._enforcement.note_connected()
            async for message in call:
                if welcomed is None:
                    welcomed = clock.now()
                    self._welcome.set()
                self._reach.succeed()
                await self._write(call, await self._enforcement.receive(message))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The latter is raised by a write to a call that has ended while the message was carried out.
            pass
        self._backoff.ended(None if welcomed is None else clock.now() - welcomed)
        return setback(await call.code(), await call.details() or "", self._channel.get_state())

    async def _show_tokens(self, call: Call, shown: str, files: CredentialFiles, clock: Clock) -> None:
        while True:
            await clock.sleep(LOOK_SECONDS)
            try:
                token = files.read_token()
                if token != shown:
                    await self._write(call, FreshToken(token))
                    shown = token
            except NotThereYet:
                # The stream stands by the last one. Whoever needs another at the next attempt waits for it.
                continue
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The call has ended; whoever reads it hears why.
                return

    async def _tell_reports(self, call: Call) -> None:
        # Not before the operator has said something: a node that was not let in has nothing to tell.
        await self._welcome.wait()
        while True:
            report, told = await self._reports.next(), False
            try:
                await self._write(call, report)
                told = True
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return
            finally:
                if not told:
                    # The next stream tells it.
                    self._reports.add(report)

    async def _write(self, call: Call, message: NodeMessage) -> None:
        # A call takes one message at a time, and a token may come while an answer is being written.
        async with self._turn:
            await call.write(encode_node(message))
