"""A whole installation fed with hostile objects: no process ends, no gate opens, no good policy waits."""

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from compilers.model.names import DNS_SUBDOMAIN
from policy_controller.controller.complaints import LONGEST_MESSAGE
from policy_controller.testing.extent import Extent
from policy_controller.testing.hostile import CASES, LARGE, Case
from policy_controller.testing.hostile.case import OTHER_PORT, PORT
from policy_controller.testing.hostile.tests.village import WITNESSED, Village
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.kernel, pytest.mark.timeout(1800)]

Record = Callable[[str, object], None]

CALM: Final = 5
"""Changes of the witness before anything hostile is there: its usual time."""
SMALL_SECONDS, LARGE_SECONDS = 3.0, 20.0
"""How long the witness may wait beside an object. A large one is compiled, sent and loaded before it in the worst case,
and what it may hold is bounded by what that takes."""
OPEN: Final = Outcome.ACCEPTED
KINDS: Final = (
    "port",
    "peer",
    "block",
    "spec",
    "selector",
    "pod",
    "free text",
    "owner",
    "names",
    "no address",
    "address",
)


def chosen(extent: Extent) -> tuple[Case, ...]:
    """Of each sort of case some; all of them at length."""
    some = [case for kind in KINDS for case in [one for one in CASES if one.name.startswith(kind)][::14]]
    return extent.choose((*some, *LARGE[1::4]), CASES)


async def test_hostile_objects_end_no_process_open_no_gate_and_delay_no_good_policy(
    tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    waits: dict[str, float] = {}
    refused = 0
    async with Village(tmp_path) as village:
        prober = village.prober
        async with (
            prober.watch(village.way("client", "server", WITNESSED), every_ms=10) as witness,
            prober.watch(village.way("client", "server", PORT), every_ms=50) as admitted,
            prober.watch(village.way("client", "server", OTHER_PORT), every_ms=50) as closed,
        ):
            calm = [await village.witnessed(witness) for _ in range(CALM)]
            for case in chosen(extent):
                refused += not await village.put(case.objects)
                waits[case.name] = await village.witnessed(witness)
                await village.settled()
                (probe,) = await prober.run([village.way("client", "web", PORT)])
                assert (probe.outcome is OPEN) is await village.admits(case), case.name
                await village.clear()
            await village.settled()
            (probe,) = await prober.run([village.way("client", "web", PORT)])
            assert probe.outcome is OPEN
        leaks = sum(result.outcome is OPEN for result in closed.results)
        refusals = sum(result.outcome is not OPEN for result in admitted.results)
        await fit_to_print(village)
    usual = statistics.median(calm)
    large = {case.name for case in LARGE}
    record_property("hostile objects: cases in an installation", len(waits))
    record_property("hostile objects: refused by the API server", refused)
    record_property("hostile objects: probes", len(closed.results) + len(admitted.results))
    record_property("hostile objects: a good policy's usual wait, ms", 1_000 * usual)
    record_property(
        "hostile objects: its median wait beside them, ms", 1_000 * statistics.median(waits.values())
    )
    record_property("hostile objects: its longest wait beside them, ms", 1_000 * max(waits.values()))
    record_property("hostile objects: leaks", leaks)
    record_property("hostile objects: refusals", refusals)
    assert (leaks, refusals) == (0, 0)
    for name, seconds in waits.items():
        assert seconds < usual + (LARGE_SECONDS if name in large else SMALL_SECONDS), name


async def fit_to_print(village: Village) -> None:
    """Nothing that comes out of the installation is syntax to a log, a terminal or a scrape, or without end."""
    for name, text in village.logs().items():
        assert all(line.isprintable() and len(line) < 13_000 for line in text.splitlines()), name
    events = await village.api.list("Event")
    assert events
    for event in events:
        assert event["message"].isprintable()
        assert len(event["message"]) <= LONGEST_MESSAGE
        assert DNS_SUBDOMAIN.fits(event["metadata"]["name"])
    status = await village.admin("/status")
    assert status.isascii() or status.isprintable()
    assert len(json.loads(status)["policies"]) <= 1_000
    assert all(line.isprintable() for line in (await village.admin("/metrics")).splitlines())
    assert await village.admin("/healthz") == "ok\n"
    assert "policy-controller-was-here" not in os.listdir("/tmp")  # noqa: S108 - what some words would make
