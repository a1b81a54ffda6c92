"""Whether the operator hears that its own door no longer answers, and takes nothing else for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from policy_controller.controller.doorbell import ANSWER_SECONDS, KNOCK_SECONDS
from policy_controller.controller.operator import DOOR_SECONDS, Operator
from policy_controller.controller.settings import Settings
from policy_controller.controller.tests.serving import serving as served_nodes
from policy_controller.controller.tests.waiting import PATIENCE_SECONDS, eventually
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.channel import HostPort


@asynccontextmanager
async def knocked_at(address: HostPort) -> AsyncIterator[tuple[Operator, FakeClock]]:
    clock = FakeClock()
    operator = Operator(Settings(), clock)
    task = asyncio.create_task(operator.doorbell.run(address))
    try:
        yield operator, clock
    finally:
        task.cancel()


async def test_a_door_that_answers_no_longer_is_an_ailment_until_it_does() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        served_nodes() as served,
        knocked_at(HostPort("127.0.0.1", served.server.port)) as (operator, clock),
    ):
        await clock.advance(KNOCK_SECONDS)
        await eventually(lambda: operator.doorbell.answered == 1)
        await served.server.stop()
        async with await asyncio.start_server(silent, "127.0.0.1", served.server.port):
            await clock.advance(KNOCK_SECONDS)
            await clock.advance(ANSWER_SECONDS)
            assert operator.doorbell.unanswered_seconds() > 0.0
            assert operator.ailments() == []
            await clock.advance(DOOR_SECONDS)
            (sentence,) = operator.ailments()
            assert sentence.startswith("Nodes that connect have not been answered for ")
        certificate = served.authority.certificate()
        await served.server.start(HostPort("127.0.0.1", served.server.port), lambda: certificate)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while operator.doorbell.answered == 1:
                await clock.advance(ANSWER_SECONDS)
                await asyncio.sleep(0.01)
        assert operator.ailments() == []


async def test_a_door_that_never_answered_is_not_taken_for_a_stuck_one() -> None:
    async with knocked_at(HostPort("127.0.0.1", 1)) as (operator, clock):
        for _ in range(20):
            await clock.advance(DOOR_SECONDS / 10)
            assert operator.ailments() == []


async def test_the_operators_own_door_answers_and_whoever_knocks_is_not_counted() -> None:
    async with (
        served_nodes() as served,
        knocked_at(HostPort("127.0.0.1", served.server.port)) as (operator, clock),
    ):
        doorbell, begun = operator.doorbell, served.server.handshakes
        for count in (1, 2):
            await clock.advance(KNOCK_SECONDS)
            await eventually(lambda count=count: doorbell.answered == count)  # type: ignore[misc] # bound in the loop
        assert served.server.handshakes - begun == doorbell.answered
