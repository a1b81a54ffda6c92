"""Operator and enforcers are ended and started again while every pair is probed: nothing leaks, nothing is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import pytest

from policy_controller.testing.extent import Extent
from policy_controller.testing.installation.installation import (
    OPERATOR,
    Ending,
    InstallationError,
)
from policy_controller.testing.installation.settings import USUAL, EnforcerSettings
from policy_controller.testing.installation.tests.rounds import (
    ALL,
    AWAY_SECONDS,
    ENDED,
    ENFORCERS,
    Record,
    record,
)
from policy_controller.testing.installation.tests.town import NODES, Town
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [
    pytest.mark.packets,
    pytest.mark.timeout(1800),
    pytest.mark.asyncio(loop_scope="module"),
]

SHORT, WHOLE = 1, 8
"""Rounds of each way to end each set of processes."""
SETTINGS: Final = {
    Ending.TERM: EnforcerSettings(("another*",), "allow"),
    Ending.KILL: USUAL,
}
"""With what an enforcer is started after each end: every start finds the base of another's settings."""


def sets(town: Town, extent: Extent) -> dict[str, tuple[str, ...]]:
    """Which processes are ended together: all of them where there is no time for more."""
    at_length = extent is Extent.WHOLE or town.network is NetworkKind.BRIDGE
    return ENDED if at_length else {"both": ALL}


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
    with await town.probing() as probing:
        for number in range(rounds):
            for what, names in sets(town, extent).items():
                for how in Ending:
                    for name in names:
                        await town.installation.end(name, how)
                    await asyncio.sleep(AWAY_SECONDS)
                    # A change that is made while they are away is in force once they are back.
                    await town.admit(f"{what}-{how.name.lower()}-{number}")
                    for name in names:
                        await town.installation.begin(name, SETTINGS[how])
                    await town.in_force()
                    restarts += len(names)
        tally = await asyncio.to_thread(probing.stop)

    record(tally, restarts, record_property)
    between = f"ms between two restart probes of a pair, {town.network.value}"
    record_property(f"{between}: 99 of 100 within", tally.usual_gap_ms)
    record_property(f"{between}: the most", tally.longest_gap_ms)
    assert tally.is_clean, tally
    assert tally.probes > 100 * restarts


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
                    await town.installation.end(name, Ending.KILL)
                    await town.installation.begin(name)
                await asyncio.sleep(AWAY_SECONDS)
            await town.in_force()
            restarts += len(names)
        tally = await asyncio.to_thread(probing.stop)

    record(tally, restarts, record_property)
    assert tally.is_clean, tally


async def test_pods_that_came_while_a_process_was_away_have_their_gates_when_it_is_back(
    town: Town, extent: Extent
) -> None:
    for number, names in enumerate(sets(town, extent).values()):
        for name in names:
            await town.installation.end(name, Ending.KILL)
        pod = await town.add_pod(f"late-{number}", NODES[number % len(NODES)])
        for name in names:
            await town.installation.begin(name)
        await town.in_force()
        await town.remove_pod(pod)
        await town.in_force()


async def test_a_process_that_ended_is_known_to_have_ended_and_nothing_waits_for_it(town: Town) -> None:
    (first, *_) = ENFORCERS
    assert all(town.installation.is_running(name) for name in ALL)
    await town.installation.end(first, Ending.KILL)
    assert not town.installation.is_running(first)
    assert town.installation.log_of(first)
    await town.admit("somebody")
    with pytest.raises(InstallationError, match="have passed"):
        await town.installation.in_force(await town.cluster(), seconds=0.1)

    await town.installation.begin(first)
    await town.in_force()
