"""The switch of a whole installation, with packets: off within seconds, kept by whoever comes and goes, and closed again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest

from policy_controller.testing.installation.installation import OPERATOR, Ending
from policy_controller.testing.installation.tests.rounds import ALL, ENFORCERS, Record
from policy_controller.testing.installation.tests.test_absence import alive, every, knocks, restarted_nodes
from policy_controller.testing.installation.tests.town import NODES, TCP_PORT, UDP_PORT, Town
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import (
    ContinuousProbing,
    Expected,
    Listener,
    Outcome,
    Pair,
    Prober,
    Tally,
    Transport,
)
from policy_controller.testing.probe.watch import Watch

pytestmark = [
    pytest.mark.packets,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
    # What happens here happens in programs, not in pod networks.
    pytest.mark.parametrize("town", [NetworkKind.BRIDGE], indirect=True, ids=["bridge"], scope="module"),
]

WITHIN: Final = 10.0
EVERY_MS: Final = 30.0
AFTER_SECONDS: Final = 1.0
"""How long nodes without an operator are probed."""
REFUSALS: Final = "packets of allowed pairs refused around the switch"


async def denied(town: Town) -> list[Pair]:
    """By TCP: what UDP has opened while it was off, a later probe may go on with from the same port."""
    pairs = await town.pairs()
    return [
        pair for pair in pairs if pair.expected is Expected.DENIED and pair.probe.transport is Transport.TCP
    ]


async def allowed(town: Town) -> list[Pair]:
    return [pair for pair in await town.pairs() if pair.expected is Expected.ALLOWED]


@asynccontextmanager
async def watching(prober: Prober, pairs: Sequence[Pair]) -> AsyncIterator[list[Watch]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(prober.watch(pair.probe, every_ms=EVERY_MS)) for pair in pairs]


async def all_changed(watches: Sequence[Watch], outcome: Outcome, since: float) -> float:
    """Seconds until the last of them had this outcome."""
    changes = [watch.changed_to(outcome, since=since, within=WITHIN) for watch in watches]
    return max(result.sent_at for result in await asyncio.gather(*changes)) - since


def counted(tally: Tally, record_property: Record) -> None:
    record_property("probes of allowed pairs around the switch", tally.probes + tally.heartbeats)
    record_property(REFUSALS, tally.refusals)


async def test_off_opens_what_was_denied_within_seconds_and_enforced_closes_it_again(
    town: Town, record_property: Record
) -> None:
    closed = await denied(town)
    with ContinuousProbing(town.listeners(), await allowed(town)) as probing:
        async with Prober() as prober, watching(prober, closed) as watches:
            since = time.monotonic()
            await town.switch("off")
            opening = await all_changed(watches, Outcome.ACCEPTED, since)
            await town.in_force()
            source, destination = closed[0].probe.source, closed[0].probe.destination
            with await prober.converse(source, destination, TCP_PORT) as talk:
                since = time.monotonic()
                await town.switch("enforced")
                closing = await all_changed(watches, Outcome.TIMED_OUT, since)
                await town.in_force()
                settled = time.monotonic()
                await all_changed(watches, Outcome.TIMED_OUT, settled)
                late = [one for watch in watches for one in watch.results if one.sent_at > settled]
                # Only first packets are judged: what was opened meanwhile goes on.
                assert (await talk.exchange()).outcome is Outcome.ACCEPTED
        tally = await asyncio.to_thread(probing.stop)

    counted(tally, record_property)
    record_property("ms from off to the last denied pair open", round(1000 * opening))
    record_property("ms from enforced to the last denied pair closed", round(1000 * closing))
    record_property("packets at denied pairs once enforced again", len(late))
    assert {one.outcome for one in late} == {Outcome.TIMED_OUT}
    assert len(late) >= 3 * len(closed)
    assert tally.is_clean, tally


@pytest.mark.whole
async def test_whoever_comes_and_goes_meanwhile_it_stays_off(town: Town, record_property: Record) -> None:
    """Operator away, enforcers restarted, a pod that nobody has told of: all of them open to everybody."""
    stranger = await town.build_pod("stranger", NODES[0])
    await town.switch("off")
    await town.in_force()
    async with Prober() as prober:
        prober.listen(Listener(stranger.namespace, stranger.name, (TCP_PORT,), (UDP_PORT,)))
        # As the reference has it now, every pair is an allowed one.
        with await town.probing() as probing:
            await every(prober, knocks(town, stranger), Outcome.ACCEPTED)
            await town.installation.end(OPERATOR, Ending.KILL)
            for name in ENFORCERS:
                await town.installation.end(name, Ending.KILL)
                await town.installation.begin(name)
            await alive(town)
            await town.in_force()
            results = await prober.run(knocks(town, stranger))
            assert {result.outcome for result in results} == {Outcome.ACCEPTED}
            await town.installation.begin(OPERATOR)
            await town.installation.settled()
            tally = await asyncio.to_thread(probing.stop)
        await town.switch("enforced")
        await town.in_force()
        closed = await prober.run([pair.probe for pair in await denied(town)])
    await asyncio.to_thread(town.laboratory.remove_pod, stranger)

    counted(tally, record_property)
    assert {result.outcome for result in closed} == {Outcome.TIMED_OUT}
    assert tally.is_clean, tally


@pytest.mark.whole
async def test_nodes_that_restart_without_an_operator_stay_off(town: Town, record_property: Record) -> None:
    await town.switch("off")
    await town.in_force()
    async with restarted_nodes(town):
        with await town.probing() as probing:
            await asyncio.sleep(AFTER_SECONDS)
            tally = await asyncio.to_thread(probing.stop)
    await town.installation.settled()
    await town.switch("enforced")
    await town.in_force()

    counted(tally, record_property)
    assert tally.is_clean, tally
    assert all(map(town.installation.is_running, ALL))
