"""The plan is a function of its seed, and has everything in it."""

import itertools
import json

import pytest

from policy_controller.testing.chaos.chaos import TABLE
from policy_controller.testing.chaos.plan import FAULTS, ON_BRIDGES, Kind, Phase, document, plan
from policy_controller.testing.laboratory import NetworkKind

TEN_MINUTES = 600.0
SEEDS = (0, 1, 2, 4_000_000_000)


def shown(seed: int, seconds: float = TEN_MINUTES, network: NetworkKind = NetworkKind.BRIDGE) -> bytes:
    return document(seed, seconds, network, plan(seed, seconds, network))


@pytest.mark.parametrize("network", NetworkKind)
def test_the_same_seed_gives_the_same_bytes_and_another_others(network: NetworkKind) -> None:
    plans = [shown(seed, network=network) for seed in SEEDS]

    assert plans == [shown(seed, network=network) for seed in SEEDS]
    assert len(set(plans)) == len(SEEDS)


def test_a_longer_chaos_begins_as_the_shorter_one() -> None:
    short, long = plan(7, 60, NetworkKind.VXLAN), plan(7, TEN_MINUTES, NetworkKind.VXLAN)

    assert long[: len(short)] == short


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("network", NetworkKind)
def test_ten_minutes_have_every_fault_and_more_than_enough(seed: int, network: NetworkKind) -> None:
    steps = plan(seed, TEN_MINUTES, network)
    faults = [step.kind for step in steps if step.kind in FAULTS]

    assert len(faults) >= 300
    assert set(faults) == FAULTS - (ON_BRIDGES if network is NetworkKind.ROUTED else frozenset())
    assert [step.at_ms for step in steps] == sorted(step.at_ms for step in steps)


def test_all_works_again_between_a_storm_and_a_calm() -> None:
    phases = [step.phase for step in plan(3, TEN_MINUTES, NetworkKind.BRIDGE)]

    assert (Phase.STORM, Phase.CALM) not in set(itertools.pairwise(phases))


def test_every_kind_can_be_done() -> None:
    assert set(TABLE) == set(Kind) - {Kind.ALL_WORKS}


def test_the_document_says_what_it_is_of() -> None:
    found = json.loads(shown(5, 30, NetworkKind.ROUTED))

    assert found["schema"] == "chaos-plan/v1"
    assert (found["seed"], found["seconds"], found["network"]) == (5, 30, "routed")
    assert found["steps"]
