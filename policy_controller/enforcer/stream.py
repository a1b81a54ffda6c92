"""The conversation with the operator over gRPC: says hello, hands on what arrives, sends what is answered, for ever.

Knows channels, streams and waiting between them. Knows nothing of what messages mean.
"""

import asyncio
import logging
from random import Random
from typing import Final

import grpc
import grpc.aio

from policy_controller.clock import Clock
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import connect
from policy_controller.wire.convert import encode_node
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

SHORTEST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 20.0

Call = grpc.aio.StreamStreamCall[pb.NodeMessage, pb.OperatorMessage]


class Backoff:
    """Seconds to wait before each further attempt: twice as many each time, and a random part of them.

    The random part keeps the nodes of a cluster from coming back all at once.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._longest = SHORTEST_WAIT

    def succeeded(self) -> None:
        """Begin anew: the operator has said something."""
        self._longest = SHORTEST_WAIT

    def next_wait(self) -> float:
        """Seconds until the next attempt."""
        longest = self._longest
        self._longest = min(2 * longest, LONGEST_WAIT)
        return self._random.uniform(longest / 2, longest)


async def follow(operator: str, enforcement: Enforcement, clock: Clock, random: Random) -> None:
    """Keep a stream to the operator at that address, and do what it says. Ends only by cancellation."""
    backoff = Backoff(random)
    while True:
        async with connect(operator) as channel:
            try:
                await _converse(EnforcementStub(channel).Enforce(), enforcement, backoff)
                log.info("the operator has ended the stream")
            except grpc.aio.AioRpcError as error:
                log.info("no stream to the operator: %s", plain(error.details() or error.code().name))
            except asyncio.InvalidStateError:
                # What grpc.aio raises for a write to a call that has ended while the message was carried out.
                log.info("no stream to the operator: it ended before it could be answered")
            finally:
                enforcement.end_stream()
        await clock.sleep(backoff.next_wait())


async def _converse(call: Call, enforcement: Enforcement, backoff: Backoff) -> None:
    await call.write(encode_node(enforcement.begin_stream()))
    enforcement.note_connected()
    async for message in call:
        backoff.succeeded()
        await call.write(encode_node(await enforcement.receive(message)))
