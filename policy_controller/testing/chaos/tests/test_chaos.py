"""Chaos over a whole installation: nothing leaks, nothing is refused, all recovers; and what would leak is seen."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from policy_controller.testing.chaos.chaos import Order, chaos, judged, staged
from policy_controller.testing.chaos.knocking import Stop
from policy_controller.testing.chaos.town import NAMESPACES, policy
from policy_controller.testing.extent import Extent
from policy_controller.testing.installation.installation import enforcer_of
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [pytest.mark.packets, pytest.mark.timeout(600)]

Record = Callable[[str, object], None]

SHORT: Final = Order(1, 12, NetworkKind.BRIDGE, ("node-a", "node-b"))
WHOLE: Final = Order(2, 180, NetworkKind.BRIDGE, ("node-a", "node-b", "node-c"))
PAUSE_SECONDS: Final = 3.0
CLOSED: Final = {"podSelector": {}, "policyTypes": ["Ingress"]}


def quietly(_: str) -> None:
    pass


async def test_nothing_leaks_and_nothing_is_refused_whatever_fails(
    extent: Extent, tmp_path: Path, record_property: Record
) -> None:
    order = extent.choose(SHORT, WHOLE)

    report = await chaos(order, tmp_path, quietly)

    tally = report.tally
    record_property("chaos probes", tally.probes)
    record_property("chaos faults", report.faults)
    record_property("chaos leaks", tally.leaks)
    record_property("chaos refusals", tally.refusals)
    record_property("chaos probes inside windows", tally.inside_windows)
    assert not report.trouble
    assert not tally.leaks, report.told
    assert not tally.refusals, report.told
    assert report.faults >= order.seconds / 3
    assert tally.probes >= 500 * order.seconds
    assert min(tally.allowed, tally.denied) > tally.probes / 10


@pytest.mark.whole
async def test_a_node_that_does_not_hear_of_a_policy_is_seen_to_leak(tmp_path: Path) -> None:
    async with staged(SHORT, tmp_path) as scene:
        await scene.works()
        enforcers = [enforcer_of(node) for node in scene.laboratory.nodes]
        for name in enforcers:
            scene.installation.send_signal(name, signal.SIGSTOP)
        for namespace in NAMESPACES:
            await scene.town.write_policy(policy(namespace, "closed", CLOSED))
        await asyncio.sleep(PAUSE_SECONDS)
        for name in enforcers:
            scene.installation.send_signal(name, signal.SIGCONT)
        await scene.in_force()
        await scene.knocking.tell(Stop())

    tally, _ = judged(scene.journal, scene.knocking)

    assert tally.leaks > 0
    assert not tally.refusals


@pytest.mark.whole
async def test_a_wall_is_seen_to_refuse(tmp_path: Path) -> None:
    async with staged(SHORT, tmp_path) as scene:
        await scene.works()
        (first, *_) = scene.laboratory.nodes
        hook = "type filter hook forward priority -10; policy drop;"
        await scene.nft(first, f"table inet wall {{ chain f {{ {hook} }}; }}")
        await asyncio.sleep(1)
        await scene.nft(first, "delete table inet wall")
        await scene.knocking.tell(Stop())

    tally, _ = judged(scene.journal, scene.knocking)

    assert tally.refusals > 0
    assert not tally.leaks
