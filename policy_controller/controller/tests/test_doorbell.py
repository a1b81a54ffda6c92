"""Whether the operator hears that its own door no longer answers, and takes nothing else for that."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from policy_controller.controller import doorbell as doorbell_module
from policy_controller.controller.doorbell import (
    ANSWER_SECONDS,
    FLOOD_EACH_SECOND,
    KNOCK_SECONDS,
    Doorbell,
)
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


async def test_a_door_in_a_flood_is_not_taken_for_a_stuck_one_and_one_that_others_only_come_to_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, faults = 0, list[Exception]()

    async def knock(_: HostPort) -> None:
        nonlocal begun
        begun += flood if busy else few
        if faults:
            raise faults[-1]

    flood, few = int(FLOOD_EACH_SECOND * KNOCK_SECONDS) + 1, 500
    busy, clock = True, FakeClock()
    monkeypatch.setattr(doorbell_module, "_knock", knock)
    doorbell = Doorbell(clock, lambda: begun)
    task = asyncio.create_task(doorbell.run(HostPort("127.0.0.1", 1)))
    try:
        await clock.advance(KNOCK_SECONDS)
        await eventually(lambda: doorbell.answered == 1)
        for fault in (TimeoutError("no answer"), OSError(errno.EMFILE, "too many open files")):
            faults.append(fault)
            for _ in range(3):
                await clock.advance(KNOCK_SECONDS)
                assert doorbell.unanswered_seconds() == 0.0
            busy = not busy
        busy = False
        faults.append(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
        for knocks in range(3):
            await clock.advance(KNOCK_SECONDS)
            assert doorbell.unanswered_seconds() == knocks * KNOCK_SECONDS
    finally:
        task.cancel()


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
