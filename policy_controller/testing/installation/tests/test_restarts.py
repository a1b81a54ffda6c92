"""Operator and enforcers are ended and started again while every pair is probed: nothing leaks, nothing is refused."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from policy_controller.testing.extent import Extent
from policy_controller.testing.installation.installation import OPERATOR, Ending, enforcer_of
from policy_controller.testing.installation.tests.town import NODES, Town
from policy_controller.testing.laboratory import NetworkKind, inside
from policy_controller.testing.probe import Tally

pytestmark = [pytest.mark.packets, pytest.mark.timeout(1800)]

Record = Callable[[str, object], None]

ENFORCERS: Final = tuple(map(enforcer_of, NODES))
ENDED: Final = {"operator": (OPERATOR,), "enforcers": ENFORCERS, "both": (OPERATOR, *ENFORCERS)}
SHORT, WHOLE = 1, 8
"""Rounds of each way to end each set of processes."""
MOST_BETWEEN_MS: Final = 250.0
"""A machine that is so busy that it probes more rarely sees no short gap."""
GAP_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 0.3
"""How long a process is away before it is started again."""


@pytest.fixture(params=NetworkKind, ids=lambda kind: kind.value)
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Town]:
    async with Town(request.param, tmp_path) as town:
        yield town


def start(town: Town, name: str) -> None:
    if name == OPERATOR:
        town.installation.start_operator()
    else:
        town.installation.start_enforcer(name.removeprefix(enforcer_of("")))


def record(tally: Tally, record_property: Record) -> None:
    record_property("restarts: probes", tally.probes)
    record_property("restarts: heartbeats of open connections", tally.heartbeats)
    record_property("restarts: leaks", tally.leaks)
    record_property("restarts: refusals", tally.refusals)
    # 99 of 100 probes of a pair follow the one before within this.
    assert tally.usual_gap_ms < MOST_BETWEEN_MS, tally


@asynccontextmanager
async def changing(town: Town) -> AsyncIterator[None]:
    """Policies change all the while, as fast as the API server takes them; the probed pairs keep their verdicts."""

    async def change() -> None:
        for number in count():
            await town.admit(f"app-{number}")
            await asyncio.sleep(0.01)

    task = asyncio.create_task(change())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_processes_come_and_go_without_a_leak_or_a_refusal(
    town: Town, extent: Extent, record_property: Record
) -> None:
    rounds, restarts = extent.choose(SHORT, WHOLE), 0
    ended = ENDED if extent is Extent.WHOLE or town.network is NetworkKind.BRIDGE else {"both": ENDED["both"]}
    with await town.probing() as probing:
        for number in range(rounds):
            for what, names in ended.items():
                for how in Ending:
                    for name in names:
                        town.installation.end(name, how)
                    await asyncio.sleep(AWAY_SECONDS)
                    # A change that is made while they are away is in force once they are back.
                    await town.admit(f"{what}-{how.name.lower()}-{number}")
                    for name in names:
                        start(town, name)
                    await town.in_force()
                    restarts += len(names)
        tally = probing.stop()

    assert tally.is_clean, tally
    assert tally.probes > 100 * restarts
    record_property("restarts", restarts)
    record(tally, record_property)


async def test_processes_killed_in_the_middle_of_changes_leave_no_gap(
    town: Town, extent: Extent, record_property: Record
) -> None:
    rounds, restarts = extent.choose(2, 2 * WHOLE), 0
    with await town.probing() as probing:
        for number in range(rounds):
            names = (OPERATOR,) if number % 2 else ENFORCERS
            async with changing(town):
                await asyncio.sleep(AWAY_SECONDS)
                for name in names:
                    town.installation.end(name, Ending.KILL)
                    start(town, name)
                await asyncio.sleep(AWAY_SECONDS)
            await town.in_force()
            restarts += len(names)
        tally = probing.stop()

    assert tally.is_clean, tally
    record_property("restarts", restarts)
    record(tally, record_property)


async def test_pods_that_came_while_a_process_was_away_have_their_gates_when_it_is_back(town: Town) -> None:
    for number, names in enumerate(ENDED.values()):
        for name in names:
            town.installation.end(name, Ending.KILL)
        pod = await town.add_pod(f"late-{number}", NODES[number % len(NODES)])
        for name in names:
            start(town, name)
        await town.in_force()
        await town.remove_pod(pod)
        await town.in_force()


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Town]:
    async with Town(NetworkKind.BRIDGE, tmp_path) as town:
        yield town


def nft(town: Town, command: str) -> None:
    for node in town.laboratory.nodes.values():
        with inside(node.namespace):
            subprocess.run(["nft", "-f", "-"], input=command, text=True, check=True)  # noqa: S607 - root's own PATH


@pytest.mark.parametrize(
    ("command", "leaks"),
    [
        ("flush chain inet policy-controller forward", True),
        (
            "add table inet wall; add chain inet wall f { type filter hook forward priority -10; policy drop; }",
            False,
        ),
    ],
    ids=["gates that are taken away are seen as leaks", "a wall is seen as refusals"],
)
async def test_a_gap_would_be_seen(bridge: Town, command: str, leaks: bool) -> None:
    with await bridge.probing() as probing:
        for name in (OPERATOR, *ENFORCERS):
            # Nobody mends meanwhile.
            bridge.installation.end(name, Ending.KILL)
        nft(bridge, command)
        await asyncio.sleep(GAP_SECONDS)
        tally = probing.stop()

    assert (tally.leaks > 0) is leaks
    assert (tally.refusals > 0) is not leaks
