"""Events on nodes whose tables somebody changes: what they say, and that there are few however much a node tells."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from compilers.nftables.words import TableFamily
from policy_controller.controller.node_events import (
    MOST_PROCESSES,
    NODE_SECONDS,
    PAUSE_SECONDS,
    NodeEvents,
)
from policy_controller.controller.tests.fake_api import FakeApi
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.messages import Tampered

BOTH = tuple(TableFamily)
REPORT = Tampered("nft", 4711, BOTH, 1, 1_700_000_000)


class Lab:
    def __init__(self) -> None:
        self.api, self.clock = FakeApi(), FakeClock()
        self.events = NodeEvents(self.api, self.clock)
        self.task = asyncio.create_task(self.events.run())

    def counts(self) -> list[object]:
        return [event["count"] for event in self.api.events]


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    made.task.cancel()


async def test_an_event_names_node_process_and_tables(lab: Lab) -> None:
    lab.events.tampered("node-1", REPORT)
    await lab.clock.advance(PAUSE_SECONDS)
    (event,) = lab.api.events
    metadata: Any = event["metadata"]
    assert metadata["namespace"] == "default"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "node-1",
        "uid": "node-1",
    }
    assert str(event["message"]).startswith(
        "nft (pid 4711) changed the nftables table inet policy-controller and bridge policy-controller, once, "
        "last at 2023-11-14T22:13:20Z"
    )


async def test_a_process_that_nobody_knows_has_no_number(lab: Lab) -> None:
    lab.events.tampered("node-1", Tampered("unknown", 0, BOTH, 1, 0))
    await lab.clock.advance(PAUSE_SECONDS)
    assert str(lab.api.events[0]["message"]).startswith("a process that is not known changed")


async def test_a_node_that_tells_without_end_gets_an_event_now_and_then(lab: Lab) -> None:
    for _ in range(100):
        lab.events.tampered("node-1", REPORT)
        await lab.clock.advance(1.0)
    assert len(lab.api.events) <= 100 / NODE_SECONDS + 1
    await lab.clock.advance(NODE_SECONDS)
    assert sum(map(int, map(str, lab.counts()))) == 100
    assert len({str(event["metadata"]) for event in lab.api.events}) == len(lab.api.events)


async def test_a_node_that_names_ever_other_processes_is_bounded_and_keeps_no_other_from_being_told(
    lab: Lab,
) -> None:
    for number in range(1000):
        lab.events.tampered("node-1", Tampered(f"p{number}", number, BOTH, 1, 0))
    lab.events.tampered("node-2", REPORT)
    await lab.clock.advance(1.0)
    assert len(lab.api.events) == MOST_PROCESSES + 1
    assert (lab.events.heard, lab.events.dropped) == (1001, 1000 - MOST_PROCESSES)


async def test_what_cannot_be_written_is_counted_and_the_next_is_tried(lab: Lab) -> None:
    lab.api.failing = 1
    lab.events.tampered("node-1", REPORT)
    lab.events.tampered("node-2", REPORT)
    await lab.clock.advance(1.0)
    assert (lab.events.failures, lab.events.written) == (1, 1)
