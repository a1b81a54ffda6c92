"""Enforcement is off: whatever policies say, every connection is allowed, and the reason names the switch."""

from dataclasses import replace

import pytest

from compilers.evaluate.decision import Outcome, Verdict
from compilers.evaluate.explain import lines
from compilers.evaluate.isolation import isolating
from compilers.evaluate.tests.stage import cluster, decide, policy
from compilers.model.selector import EVERYTHING
from compilers.model.settings import ClusterSettings, Enforcement
from compilers.model.words import Direction

CLOSED = cluster(policy("shop/p", EVERYTHING, ingress=[], egress=[]))
OFF = replace(CLOSED, settings=ClusterSettings(Enforcement.OFF))
PAIRS = [
    ("ops/web", "shop/web"),
    ("shop/web", "ops/web"),
    ("shop/web", "shop/db"),
    ("outside", "shop/api"),
    ("shop/db", "outside"),
    ("shop/db", "node-b"),
]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_what_was_denied_is_allowed_and_the_switch_is_the_reason(source: str, destination: str) -> None:
    assert {one.verdict for one in decide(CLOSED, source, destination, "TCP 80")} == {Verdict.DENIED}
    for decision in decide(OFF, source, destination, "TCP 80"):
        assert decision.verdict is Verdict.ALLOWED
        gates = decision.gates.values()
        assert {gate.outcome for gate in gates} <= {Outcome.OFF, Outcome.NOT_A_POD}
        assert any("enforcement is off in the whole cluster" in line for line in lines(decision))


def test_nobody_is_isolated() -> None:
    for pod in OFF.pods:
        for direction in Direction:
            assert isolating(OFF, pod, direction) == ()
    assert any(isolating(CLOSED, pod, Direction.INGRESS) for pod in CLOSED.pods)
