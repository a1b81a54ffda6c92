"""Knocking sees what arrives and what does not, of every pair, family and service, hundreds of times a second."""

import asyncio
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from compilers.model.words import Protocol
from policy_controller.testing.chaos.judge import Seen
from policy_controller.testing.chaos.knocking import Knocking, Leave, Observed, Rest, Settle, Stop
from policy_controller.testing.chaos.stations import Site
from policy_controller.testing.chaos.verdicts import FAMILIES, SERVICES, Service
from policy_controller.testing.laboratory import Laboratory, inside

pytestmark = pytest.mark.packets

RATE: Final = 400.0
SECONDS: Final = 0.8


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        node = laboratory.add_node("node-a")
        for name in ("one", "two", "three"):
            laboratory.add_pod(node, name)
        yield laboratory


def sites(laboratory: Laboratory) -> tuple[Site, ...]:
    return tuple(
        Site(number, pod.namespace, (str(pod.addresses[0]), str(pod.addresses[1])))
        for number, pod in enumerate(laboratory.pods.values())
    )


def nft(laboratory: Laboratory, text: str) -> None:
    with inside(laboratory.nodes["node-a"].namespace):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)  # noqa: S607 - root's own PATH


def by_service(observed: list[Observed]) -> dict[Service, set[Seen]]:
    found: dict[Service, set[Seen]] = defaultdict(set)
    for one in observed:
        found[SERVICES[one.question[3]]].add(one.seen)
    return found


async def test_every_question_is_asked_and_answered(laboratory: Laboratory, tmp_path: Path) -> None:
    async with Knocking(tmp_path / "seen", RATE, 1) as knocking:
        await knocking.tell(Settle(sites(laboratory)))
        await asyncio.sleep(SECONDS)
        await knocking.tell(Stop())
    observed = list(knocking.observed())

    assert {one.seen for one in observed} == {Seen.ANSWERED}
    assert len({one.question for one in observed}) == 3 * 2 * FAMILIES * len(SERVICES)
    assert len(observed) > RATE * SECONDS * 0.7
    assert all(one.sent <= one.ended for one in observed)


@pytest.mark.parametrize("closed", [Service.UDP_53, Service.TCP_80])
async def test_what_does_not_arrive_is_told_from_what_is_not_answered(
    laboratory: Laboratory, tmp_path: Path, closed: Service
) -> None:
    protocol = closed.protocol.value.lower()
    hook = "type filter hook forward priority -10; policy accept;"
    nft(laboratory, f"table inet wall {{ chain f {{ {hook} {protocol} dport {closed.port} drop; }}; }}")
    try:
        async with Knocking(tmp_path / "seen", RATE, 1) as knocking:
            await knocking.tell(Settle(sites(laboratory)))
            await asyncio.sleep(SECONDS)
            await knocking.tell(Stop())
    finally:
        nft(laboratory, "delete table inet wall")
    found = by_service(list(knocking.observed()))

    assert found == {service: {Seen.NOTHING if service is closed else Seen.ANSWERED} for service in SERVICES}


async def test_an_answer_that_is_dropped_was_delivered_before(laboratory: Laboratory, tmp_path: Path) -> None:
    hook = "type filter hook forward priority -10; policy accept;"
    nft(laboratory, f"table inet wall {{ chain f {{ {hook} udp sport 53 drop; }}; }}")
    try:
        async with Knocking(tmp_path / "seen", RATE, 1) as knocking:
            await knocking.tell(Settle(sites(laboratory)))
            await asyncio.sleep(SECONDS)
            await knocking.tell(Stop())
    finally:
        nft(laboratory, "delete table inet wall")

    assert by_service(list(knocking.observed()))[Service.UDP_53] == {Seen.DELIVERED}


async def test_who_rests_or_has_left_is_not_asked_and_does_not_ask(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    async with Knocking(tmp_path / "seen", RATE, 1) as knocking:
        await knocking.tell(Settle(sites(laboratory)))
        await knocking.tell(Rest((0,)))
        await knocking.tell(Leave((1,)))
        await asyncio.sleep(SECONDS / 4)
        nobody = await asyncio.to_thread((tmp_path / "seen").stat)
        await knocking.tell(Rest(()))
        await asyncio.sleep(SECONDS / 2)
        await knocking.tell(Stop())
    observed = list(knocking.observed())

    assert nobody.st_size == 0
    assert {frozenset(one.question[:2]) for one in observed[-20:]} == {frozenset({0, 2})}
    assert Protocol.UDP in {SERVICES[one.question[3]].protocol for one in observed}
