"""What fails around the operator: the API server goes away, kopf ends, a part of the operator ends."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import kopf
import pytest
from prometheus_client import generate_latest

from policy_controller.controller.kinds import DECIDING, KINDS, Kind
from policy_controller.controller.operator import Operator, PartEnded
from policy_controller.controller.settings import Settings
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.enforcers import install
from policy_controller.controller.tests.objects import new
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.controller.trouble import Trouble
from policy_controller.controller.watches import BACKOFF_SECONDS, GLANCE_SECONDS, WATCHER, Watches
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    ErrorEvent,
    Fault,
    Faults,
    Refuse,
    Requests,
    Verb,
)
from policy_controller.testing.clock import FakeClock


async def test_an_api_server_that_goes_away_and_comes_back_is_caught_up_with(tmp_path: Path) -> None:
    server = ApiServer()
    install(server, ["node-1"])
    server.create(new(objects.namespace("shop")))
    server.create(new(objects.pod("web", address="10.0.0.1", node="node-1")))
    async with asyncio.timeout(60):
        async with server.listening("127.0.0.1", 0):
            port = int(server.url.rpartition(":")[2])
            outside = operator_of(server, tmp_path)
            running = await outside.__aenter__()
            token = running.door.token_of("node-1")
            way = replace(running.door, token_of=lambda _: token)
            async with node(way, "node-1") as one:
                await one.apply()
        try:
            # It comes back by what the API server has said of its token.
            async with node(way, "node-1") as one:
                await one.apply()
                server.create(new(objects.policy("deny")))
                assert await running.admin("/healthz") == (200, "ok\n")
                async with server.listening("127.0.0.1", port):
                    await one.apply()
                    assert one.rule_set == running.wanted("node-1")
                    assert one.rule_set is not None
                    assert one.rule_set.isolates
        finally:
            await outside.__aexit__(None, None, None)


async def test_watches_that_end_begin_anew_after_growing_pauses() -> None:
    clock, attempts = FakeClock(), []

    def fails() -> kopf.OperatorRegistry:
        attempts.append(clock.now())
        raise ConnectionResetError

    watches = Watches(fails, clock)
    running = asyncio.create_task(watches.run(lambda: None))
    await clock.advance(sum(BACKOFF_SECONDS) + BACKOFF_SECONDS[-1])
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert pauses == [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1]]
    assert watches.restarts == len(attempts)
    watches.stop()
    await running


async def test_watches_that_die_as_soon_as_they_have_begun_do_not_count_as_there() -> None:
    clock = FakeClock()
    watches = Watches(kopf.OperatorRegistry, clock)
    glancing = asyncio.create_task(watches._glance())
    begun = [asyncio.create_task(asyncio.Event().wait(), name=f"{WATCHER}{kind.value}") for kind in Kind]
    await clock.advance(0.0)
    for _ in range(5):
        watches.restarts += 1
        await clock.advance(GLANCE_SECONDS)
        assert watches.missing_since == 0.0
    await clock.advance(GLANCE_SECONDS)
    assert watches.missing_since is None
    begun[0].cancel()
    await clock.advance(GLANCE_SECONDS)
    assert watches.missing_since == clock.now()
    for task in (glancing, *begun):
        task.cancel()


@pytest.mark.parametrize(
    ("missing_since", "listed_at", "ails"),
    [(None, 500.0, False), (100.0, None, False), (100.0, 150.0, False), (100.0, 500.0, True)],
    ids=["all are watched", "the API server never answered", "not for long", "for long, though it answers"],
)
async def test_watches_that_stay_away_are_an_ailment_only_while_the_api_server_answers(
    missing_since: float | None, listed_at: float | None, ails: bool
) -> None:
    operator = Operator(Settings(), FakeClock())
    operator.watches.missing_since = missing_since
    if listed_at is not None:
        operator.relister._listed_at = dict.fromkeys(Kind, listed_at)
        operator.relister.synced.set()
    assert any("being watched" in sentence for sentence in operator.ailments()) is ails


async def test_the_operator_is_not_ready_while_kinds_that_decide_are_overdue_and_warns_of_others() -> None:
    clock = FakeClock()
    operator = Operator(Settings(), clock)
    assert len(operator.reasons_not_ready()) == len(DECIDING) + len(["no certificate", "no settings"])
    operator.relister._listed_at = dict.fromkeys(Kind, clock.now())
    operator.relister.synced.set()
    operator.compile_loop.revision = 0
    await clock.advance(1000.0)

    def overdue(told: Iterable[Trouble]) -> set[Kind]:
        sentence = "{} objects have not been listed for 1000 s: no answer yet."
        words = set(map(str, told))
        return {kind for kind in Kind if sentence.format(kind.value) in words}

    assert overdue(operator.reasons_not_ready()) == DECIDING
    assert overdue(operator.warnings()) == set(Kind) - DECIDING
    text = generate_latest(operator.registry()).decode()
    assert all(f'policy_controller_list_overdue{{kind="{kind.value}"}} 1.0' in text for kind in Kind)


async def test_an_operator_that_may_not_list_nodes_is_ready_and_says_so(
    server: ApiServer, faults: Faults, tmp_path: Path
) -> None:
    async with operator_of(server, tmp_path, relist_seconds=0.5) as running:
        operator = running.operator
        with faults.during(Refuse(403), Requests(verbs=frozenset({Verb.LIST}), resource="nodes")):
            await eventually(lambda: operator.warnings() != [] and operator.reasons_not_ready() == [])
            status, text = await running.admin("/readyz")
    assert (status, text.splitlines()[0]) == (200, "ok")
    assert "warning: Node objects have not been listed for " in text


async def test_kopf_that_ends_is_started_again_and_nothing_else_notices(
    server: ApiServer, tmp_path: Path
) -> None:
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        for task in asyncio.all_tasks():
            if task.get_name() == "multidimensional multitasker":
                task.cancel()
        await eventually(lambda: running.operator.watches.restarts == 1)
        await eventually(lambda: running.operator.watches.alive == len(Kind))
        server.create(new(objects.pod("web", address="10.0.0.1", node="node-1")))
        await one.apply()
        assert one.rule_set == running.wanted("node-1")


@pytest.mark.parametrize("plural", [row.plural for row in KINDS.values()])
async def test_when_one_watch_fails_all_begin_anew_and_none_is_left_over(
    server: ApiServer, faults: Faults, tmp_path: Path, plural: str
) -> None:
    """kopf ends then, and forgets the watches of the other kinds: counted as alive, they would hide that new ones are missing."""
    async with operator_of(server, tmp_path) as running:
        await eventually(lambda: server.open_watches == len(Kind))
        group = next(row.group for row in KINDS.values() if row.plural == plural)
        subject = Requests(resource=f"{plural}.{group}".rstrip("."))
        faults.begin(Fault(ErrorEvent(500), subject, times=0))
        await eventually(lambda: running.operator.watches.restarts == 1)
        assert running.operator.watches.alive == 0
        await eventually(lambda: server.open_watches == len(Kind))
        assert running.operator.watches.alive == len(Kind)


@pytest.mark.parametrize("part", ["compiler", "lists", "events"])
async def test_a_part_that_ends_ends_the_operator(server: ApiServer, tmp_path: Path, part: str) -> None:
    """A process that runs on without it would look alive; one that ends is started again."""
    outside = operator_of(server, tmp_path)
    running = await outside.__aenter__()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == part)
    task.cancel()
    await eventually(lambda: not running.operator.server.alive)
    assert f"The task of the {part} has ended." in running.operator.ailments()
    with pytest.raises(PartEnded, match=part):
        await outside.__aexit__(None, None, None)
