"""The examples that ship: the evaluator says of every row what its `expected.yaml` says."""

from pathlib import Path
from typing import Final

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.ends import PodEnd
from compilers.evaluate.explain import lines
from compilers.evaluate.isolation import isolating
from compilers.evaluate.judge import judge
from compilers.model.words import Direction, Family
from policy_controller.testing.examples import Example, examples_in, load_example, load_workloads

EXAMPLES: Final = Path(__file__).parents[4] / "examples"
PATHS: Final = examples_in(EXAMPLES)


@pytest.fixture(params=PATHS, ids=lambda path: path.name)
def example(request: pytest.FixtureRequest) -> Example:
    return load_example(request.param)


def test_evaluator_says_what_every_row_of_the_example_expects(example: Example) -> None:
    wrong = []
    for expectation in example.expectations:
        decision = judge(example.cluster, expectation.traffic)
        if decision.verdict is not expectation.verdict:
            wrong.append("\n".join((str(expectation), *lines(decision))))
    assert not wrong, "\n".join(wrong)


def test_example_tries_both_families_and_shows_both_verdicts(example: Example) -> None:
    assert {expectation.traffic.family for expectation in example.expectations} == set(Family)
    verdicts = {expectation.verdict for expectation in example.expectations}
    assert verdicts == ({Verdict.ALLOWED} if example.name == "allow-all" else set(Verdict))


def test_every_policy_of_an_example_isolates_a_gate_that_some_row_tries(example: Example) -> None:
    tried = set()
    for expectation in example.expectations:
        traffic = expectation.traffic
        for direction, end in ((Direction.EGRESS, traffic.source), (Direction.INGRESS, traffic.destination)):
            if isinstance(end, PodEnd):
                tried |= {policy.ref for policy in isolating(example.cluster, end.pod, direction)}
    assert tried == {policy.ref for policy in example.cluster.policies}


def test_every_example_without_its_policies_allows_everything(example: Example) -> None:
    """A denial that no policy causes would be a fault of the workloads."""
    bare = type(example.cluster).of(
        example.cluster.namespaces.values(), example.cluster.pods, (), example.cluster.nodes.values()
    )
    assert {judge(bare, item.traffic).verdict for item in example.expectations} == {Verdict.ALLOWED}


def test_examples_cover_what_admins_know() -> None:
    assert len(PATHS) >= 16
    for path in PATHS:
        first = (path / "policies.yaml").read_text().splitlines()[0]
        assert first.startswith("# "), f"{path.name}: policies.yaml must begin with what it is about"


def test_the_list_of_examples_is_complete() -> None:
    listed = [line for line in (EXAMPLES / "README.md").read_text().splitlines() if line.startswith("| [")]
    about = {path.name: (path / "policies.yaml").read_text().splitlines()[0][2:] for path in PATHS}
    assert listed == [f"| [{name}]({name}/policies.yaml) | {title} |" for name, title in about.items()]


def test_workloads_alone_load_as_the_example_does(example: Example) -> None:
    assert load_workloads(EXAMPLES / example.name) == example.cluster
