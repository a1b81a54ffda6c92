"""The operator while the API server fails for an hour, in a loop whose seconds are shorter: every pause and limit as it is.

The loop says the factor (testing/compressed.py). What is counted besides: how often the API server is asked meanwhile.
"""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests import enforcers, objects, running, scripted_node, waiting
from policy_controller.controller.tests.objects import new, pod, policy
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.scripted_node import ScriptedNode, node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.controller.watches import GLANCE_SECONDS
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    Fault,
    Faults,
    Garbage,
    Hang,
    Refuse,
    Requests,
    Reset,
    Verb,
    What,
)
from policy_controller.testing.compressed import FACTOR, CompressedLoop, LoopClock
from policy_controller.testing.extent import Extent

Record = Callable[[str, object], None]
Sent = Sequence[tuple[What, Requests]]

HOUR = 3600.0
MINUTE = 60.0
AT_MOST_A_MINUTE = 90
"""Requests in all: LISTs and watches of four kinds, the operator's own objects, and what clients try again by themselves."""
RECOVERED_WITHIN = 300.0
"""A LIST's timeout, its longest pause, and as much for a machine that others use: see FACTOR."""
LISTS, WATCHES = (Requests(verbs=frozenset({verb})) for verb in (Verb.LIST, Verb.WATCH))
ALL = Requests()
ALTERNATELY: Sequence[What] = (
    Refuse(401),
    Hang(),
    Refuse(403),
    Reset(),
    Refuse(429),
    Garbage(),
    Refuse(503),
    Refuse(410),
    Refuse(500),
)

FAULTS: dict[str, Sequence[Sent]] = {
    "401 of LISTs": [[(Refuse(401), LISTS)]],
    "401 of watches": [[(Refuse(401), WATCHES)]],
    "401": [[(Refuse(401), ALL)]],
    "403 of LISTs": [[(Refuse(403), LISTS)]],
    "403 of watches": [[(Refuse(403), WATCHES)]],
    "403": [[(Refuse(403), ALL)]],
    "hang": [[(Hang(), ALL)]],
    "reset": [[(Reset(), ALL)]],
    "ever another": [[(what, ALL)] for what in ALTERNATELY],
}
"""What is in force, turn and turn about, each for a minute."""


@pytest.fixture(autouse=True)
def in_seconds_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(running, "SystemClock", LoopClock)
    yield
    gc.collect()


def compress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests wait by is as long as it was."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CompressedLoop)
    loop.compress()
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", waiting.PATIENCE_SECONDS * FACTOR)
    monkeypatch.setattr(waiting, "GLANCE_SECONDS", waiting.GLANCE_SECONDS * FACTOR)


@dataclass
class Hour:
    """An operator whose node enforces what the cluster says, and what was seen while the API server failed."""

    server: ApiServer
    faults: Faults
    at: Running
    node: ScriptedNode
    asked: int = 0
    minutes: int = 0
    ailing: int = 0

    def change(self) -> None:
        """A policy goes and another comes; no watch that ended before can be told of it any more."""
        self.server.delete("NetworkPolicy", "deny", "shop")
        self.server.create(new(policy("late")))
        self.server.compact()

    async def fail(self, sent: Sequence[Sent], seconds: float) -> None:
        """Fails a minute in each way, turn and turn about, for so long, and goes on failing."""
        loop, operator = asyncio.get_running_loop(), self.at.operator
        until = loop.time() + seconds
        # What is open ends.
        self.faults.begin(Fault(Reset(), WATCHES, times=0))
        for now in itertools.cycle(sent):
            standing = [self.faults.begin(Fault(what, requests)) for what, requests in now]
            await asyncio.sleep(MINUTE)
            self.asked += sum(fault.met for fault in standing)
            self.minutes += 1
            self.ailing += bool(operator.ailments())
            # Whatever watch has died, somebody says so at the next glance.
            if operator.watches.alive < len(Kind) and operator.watches.missing_since is None:
                await asyncio.sleep(2 * GLANCE_SECONDS)
                assert operator.watches.alive == len(Kind) or operator.watches.missing_since is not None
            if loop.time() >= until:
                return
            for fault in standing:
                self.faults.end(fault.number)

    async def recover(self) -> float:
        """Seconds until the change is in force and all is watched again, by watches that tell."""
        loop, operator = asyncio.get_running_loop(), self.at.operator
        self.faults.clear()
        ended = loop.time()
        await eventually(lambda: [one.name for one in operator.store.cluster().policies] == ["late"])
        await eventually(lambda: self.node.rule_set == self.at.wanted("node-1"))
        await eventually(
            lambda: operator.watches.alive == len(Kind) and self.server.open_watches >= len(Kind)
        )
        took = loop.time() - ended
        self.server.create(new(pod("fresh", address="10.0.0.9", node="node-1")))
        await eventually(lambda: operator.store.count(Kind.POD) == 2)
        await eventually(lambda: operator.ailments() == [])
        return took


@asynccontextmanager
async def hour(folder: Path) -> AsyncIterator[Hour]:
    faults = Faults()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ApiServer.running(faults=faults))
        enforcers.install(server, ["node-1"])
        for tree in (objects.namespace("shop"), objects.node("node-1", address="192.0.2.1"), policy("deny")):
            server.create(new(tree))
        server.create(new(pod("web", address="10.0.0.1", node="node-1")))
        at = await stack.enter_async_context(operator_of(server, folder))
        one = await stack.enter_async_context(node(at.door, "node-1"))
        await one.until(at.wanted("node-1"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        # The node waits for the next message as long as it takes.
        patch.setattr(scripted_node, "PATIENCE_SECONDS", 10 * HOUR)
        compress(patch)
        following = asyncio.create_task(_follow(one))
        stack.callback(following.cancel)
        yield Hour(server, faults, at, one)


async def _follow(one: ScriptedNode) -> None:
    while True:
        await one.apply()


async def survived(folder: Path, sent: Sequence[Sent], seconds: float, record: Record) -> None:
    async with hour(folder) as one:
        before = one.node.rule_set
        failing = asyncio.create_task(one.fail(sent, seconds))
        await asyncio.sleep(MINUTE / 2)
        one.change()
        await failing
        assert before is not None
        assert before.isolates
        if all(requests is ALL for now in sent for _, requests in now):
            assert one.at.wanted("node-1") == before
        took = await one.recover()
        assert one.at.operator.server.ended == {}
    record(f"minutes of faults of the API server, in a loop {FACTOR:.0f} times as fast", one.minutes)
    record("minutes of them in which liveness said so", one.ailing)
    record("requests that were failed in them", one.asked)
    record("seconds of the loop to recover from them, all in all", round(took))
    assert took < RECOVERED_WITHIN
    assert one.asked < AT_MOST_A_MINUTE * (one.minutes + 1)


def run(folder: Path, sent: Sequence[Sent], seconds: float, record: Record) -> None:
    with asyncio.Runner(loop_factory=CompressedLoop) as runner:
        runner.run(survived(folder, sent, seconds, record))


def test_an_hour_of_ever_other_faults_is_survived(
    tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    run(tmp_path, FAULTS["ever another"], extent.choose(10 * MINUTE, HOUR), record_property)


@pytest.mark.whole
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", [name for name in FAULTS if name != "ever another"])
def test_an_hour_of_one_fault_is_survived(tmp_path: Path, name: str, record_property: Record) -> None:
    run(tmp_path, FAULTS[name], HOUR, record_property)
