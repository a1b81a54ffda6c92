"""Figures are what their names say, and every benchmark that needs no root answers in the documented form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.clusters import PODS_OF_A_NODE, cluster
from bench.measure import MILLISECONDS, high, median, ratio
from compilers.compile.compiler import Compiler
from compilers.model.words import Direction

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("samples", "middle", "most"),
    [([0.003, 0.001, 0.002], 2.0, 3.0), ([0.001] * 99 + [1.0], 1.0, 1.0), ([0.001] * 9 + [1.0], 1.0, 1000.0)],
)
def test_a_median_and_what_most_samples_do_not_exceed(
    samples: list[float], middle: float, most: float
) -> None:
    assert median(samples, MILLISECONDS) == middle
    assert high(samples, MILLISECONDS) == most


def test_a_ratio_is_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    assert ratio([(1.0, 2.0), (10.0, 10.0), (1.0, 1.5)]) == 1.5


def test_a_cluster_has_what_its_size_says_and_isolates_every_pod_in_both_directions() -> None:
    state = cluster(300)

    assert len(state.pods) == 300
    assert len({pod.addresses for pod in state.pods}) == 300
    assert len(state.nodes) * PODS_OF_A_NODE == 300
    rule_set = Compiler(state).node("node-0")
    assert len(rule_set.pods) == PODS_OF_A_NODE
    assert all(entry.ingress and entry.egress for entry in rule_set.pods.values())
    assert {policy_class.direction for policy_class in rule_set.classes.values()} == set(Direction)


def test_an_unknown_benchmark_is_named_and_the_known_ones_are_listed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing", "--output", "json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "apply" in done.stderr
    assert not done.stdout


@pytest.mark.whole
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["apply", "compile", "event", "packets"])
def test_a_benchmark_prints_its_name_and_numbers(name: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "bench", name, "--output", "json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() == {"name", "metrics"}
    assert answer["name"] == name
    assert answer["metrics"]
    assert all(value > 0 for value in answer["metrics"].values())
