"""Continuous probing of many pairs: what it counts as a leak and as a refusal, down to one lost packet."""

import asyncio
from collections.abc import Iterator

import pytest

from policy_controller.testing.laboratory import Pod
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Expected,
    Listener,
    Pair,
    Probe,
    Tally,
    Transport,
)
from policy_controller.testing.probe.tests.conftest import Town, rules

pytestmark = pytest.mark.packets

WHILE_SECONDS = 0.3


def pairs(
    source: Pod, destination: Pod, expected: Expected, *knocks: tuple[Transport, int]
) -> Iterator[Pair]:
    for address in destination.addresses:
        for transport, port in knocks:
            yield Pair(Probe(Endpoint(source.namespace), address, transport, port), expected)


def probing(town: Town, expected: Expected, *knocks: tuple[Transport, int]) -> ContinuousProbing:
    listeners = [Listener(pod.namespace, pod.name, (80,), (53,)) for pod in town.pods]
    asked = [pair for ends in (town.near, town.far) for pair in pairs(*ends, expected, *knocks)]
    return ContinuousProbing(listeners, asked)


async def seen(town: Town, rule: str, expected: Expected, *knocks: tuple[Transport, int]) -> Tally:
    """What is counted when a rule stands for a while."""
    with probing(town, expected, *knocks) as running:
        await asyncio.sleep(WHILE_SECONDS)
        with rules(town.nodes[0].namespace, rule):
            await asyncio.sleep(WHILE_SECONDS)
        return await asyncio.to_thread(running.stop)


KNOCKS = ((Transport.TCP, 80), (Transport.UDP, 53))


async def test_nothing_is_counted_where_nothing_is_lost(town: Town) -> None:
    tally = await seen(town, "", Expected.ALLOWED, *KNOCKS)

    assert tally.is_clean, tally
    assert tally.probes > 0
    assert tally.heartbeats > 0


async def test_an_answer_to_a_denied_pair_is_a_leak(town: Town) -> None:
    tally = await seen(town, "", Expected.DENIED, *KNOCKS)

    assert (tally.leaks, tally.refusals) == (tally.probes, 0)


@pytest.mark.parametrize(
    ("rule", "knock"),
    [
        ("udp dport 53 drop", KNOCKS[1]),
        ("udp sport 53 drop", KNOCKS[1]),
        ("tcp dport 80 ct state new limit rate over 1/hour drop", KNOCKS[0]),
        ("tcp flags & (syn | ack) == syn | ack drop", KNOCKS[0]),
        ("tcp dport 80 ct state established drop", KNOCKS[0]),
        ("tcp sport 80 ct state established drop", KNOCKS[0]),
    ],
)
async def test_a_lost_packet_is_a_refusal(town: Town, rule: str, knock: tuple[Transport, int]) -> None:
    tally = await seen(town, rule, Expected.ALLOWED, knock)

    assert tally.refusals > 0
    assert tally.leaks == 0


async def test_one_lost_segment_of_an_open_connection_is_a_refusal_though_tcp_mends_it(town: Town) -> None:
    once = "ct state established tcp dport 80 tcp flags & psh == psh limit rate 1/hour burst 1 packets drop"
    tally = await seen(town, once, Expected.ALLOWED, (Transport.TCP, 80))

    assert tally.refusals > 0
    assert all("segments sent again" in line for line in tally.told)
