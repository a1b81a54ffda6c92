"""What becomes of a watch under each fault, when it begins and when it is open; on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    Disorder,
    End,
    ErrorEvent,
    Events,
    Fault,
    Faults,
    Garbage,
    Requests,
    Reset,
    Stall,
    Trickle,
    What,
)
from policy_controller.testing.api_server.faults.tests.conftest import eventually
from policy_controller.testing.api_server.tests.raw import PODS, RawClient, WatchStream, pod

OPEN_ONLY = 0


@asynccontextmanager
async def opened(client: RawClient, server: ApiServer, seconds: int = 60) -> AsyncIterator[WatchStream]:
    """A watch from now, and nothing read yet."""
    version = str(server.resource_version)
    async with client.watch(PODS, resourceVersion=version, timeoutSeconds=str(seconds)) as stream:
        yield stream


def change(server: ApiServer, name: str, phase: str = "Running") -> None:
    server.apply({**pod(name), "status": {"phase": phase}})


async def names(stream: WatchStream, count: int) -> list[str]:
    events = [await stream.brief() for _ in range(count)]
    return [event[1] for event in events if event is not None]


def error_of(event: dict[str, Any] | None) -> tuple[str, int]:
    assert event is not None
    return event["type"], event["object"]["code"]


@pytest.mark.parametrize("what", [End(), ErrorEvent(), ErrorEvent(500)], ids=["end", "gone", "error"])
async def test_an_open_watch_ends_at_once_and_in_good_order(
    server: ApiServer, client: RawClient, faults: Faults, what: What
) -> None:
    async with opened(client, server) as stream:
        change(server, "p0")
        assert await names(stream, 1) == ["p0"]
        standing = faults.begin(Fault(what, times=OPEN_ONLY))
        change(server, "p1")
        said = [error_of(event) for event in await stream.rest()]
    assert said == ([("ERROR", what.status)] if isinstance(what, ErrorEvent) else [])
    assert (standing.met, faults.standing) == (1, ())
    async with opened(client, server) as stream:
        change(server, "p2")
        assert await names(stream, 1) == ["p2"]


@pytest.mark.parametrize("what", [End(), ErrorEvent(), ErrorEvent(500)], ids=["end", "gone", "error"])
async def test_a_new_watch_ends_as_soon_as_it_has_begun(
    server: ApiServer, client: RawClient, faults: Faults, what: What
) -> None:
    with faults.during(what) as standing:
        async with opened(client, server) as stream:
            said = [error_of(event) for event in await stream.rest()]
        assert (await client.get(PODS)).code == 200
    assert said == ([("ERROR", what.status)] if isinstance(what, ErrorEvent) else [])
    assert (stream.code, standing.met) == (200, 1)


async def test_an_open_watch_is_reset(server: ApiServer, client: RawClient, faults: Faults) -> None:
    async with opened(client, server) as stream:
        faults.begin(Fault(Reset(), times=OPEN_ONLY))
        with pytest.raises(aiohttp.ClientPayloadError, match="ConnectionReset"):
            await stream.next()
    assert (await client.get(PODS)).code == 200


async def test_faults_of_others_leave_a_watch_alone(
    server: ApiServer, client: RawClient, faults: Faults
) -> None:
    async with opened(client, server) as stream:
        for what in (Reset(), End(), Stall(), Events(Disorder.LOST)):
            faults.begin(Fault(what, Requests(resource="nodes")))
        faults.begin(Fault(Garbage()))
        change(server, "p0")
        assert await names(stream, 1) == ["p0"]


@pytest.mark.parametrize("times", [None, OPEN_ONLY])
async def test_a_stalled_watch_says_nothing_any_more_and_stays_open(
    server: ApiServer, client: RawClient, faults: Faults, times: int | None
) -> None:
    async with opened(client, server, seconds=1) as stream:
        faults.begin(Fault(Stall(), times=times))
        if times is None:
            async with opened(client, server) as second:
                assert second.code == 200
                change(server, "p0")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(second.next(), 0.2)
        faults.clear()
        change(server, "p1")
        # It names an end after one second; a connection that is dead does not come to it.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.next(), 1.3)
        async with opened(client, server) as third:
            change(server, "p2")
            assert await names(third, 1) == ["p2"]


DISORDERS = [
    (Disorder.LOST, None, []),
    (Disorder.LOST, 2, ["p2", "p3"]),
    (Disorder.REPEATED, None, ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]),
    (Disorder.REPEATED, 1, ["p0", "p0", "p1", "p2", "p3"]),
    (Disorder.SWAPPED, None, ["p1", "p0", "p3", "p2"]),
    (Disorder.SWAPPED, 1, ["p1", "p0", "p2", "p3"]),
]


@pytest.mark.parametrize(("are", "times", "seen"), DISORDERS)
async def test_events_come_as_the_fault_says_and_then_as_ever(
    server: ApiServer, client: RawClient, faults: Faults, are: Disorder, times: int | None, seen: list[str]
) -> None:
    async with opened(client, server) as stream:
        standing = faults.begin(Fault(Events(are), times=times))
        for number in range(4):
            change(server, f"p{number}")
        assert await names(stream, len(seen)) == seen
        wanted = _met(are, times)
        await eventually(lambda: standing.met == wanted)
        faults.clear()
        change(server, "p4")
        assert await names(stream, 1) == ["p4"]


def _met(are: Disorder, times: int | None) -> int:
    if times is not None:
        return times
    return 2 if are is Disorder.SWAPPED else 4


async def test_a_swapped_event_without_a_successor_waits_for_one(
    server: ApiServer, client: RawClient, faults: Faults
) -> None:
    async with opened(client, server) as stream:
        with faults.during(Events(Disorder.SWAPPED)) as standing:
            change(server, "p0")
            await eventually(lambda: standing.met == 1)
        change(server, "p1")
        assert await names(stream, 2) == ["p1", "p0"]


async def test_the_lines_of_a_slow_watch_are_whole(
    server: ApiServer, client: RawClient, faults: Faults
) -> None:
    loop = asyncio.get_running_loop()
    async with opened(client, server) as stream:
        with faults.during(Trickle(2_000)):
            began = loop.time()
            change(server, "p0")
            assert await names(stream, 1) == ["p0"]
    assert loop.time() - began > 0.1
