"""The reference evaluator gives every cell of the truth table."""

from compilers.evaluate.judge import judge
from policy_controller.testing.generators.truth_table import PEERS, Other, Ports, Selector, truth_table


def test_evaluator_gives_every_cell_of_the_truth_table() -> None:
    wrong = [
        f"{case.name}: {traffic}: {verdict.value} expected"
        for case in truth_table()
        for traffic, verdict in case.expected
        if judge(case.cluster, traffic).verdict is not verdict
    ]
    assert wrong == []


def test_truth_table_has_every_combination_once() -> None:
    cases = list(truth_table())
    assert len(PEERS) == len(Selector) ** 2
    # Two directions; three protocols where the rule has ports, else one.
    assert len(cases) == 2 * len(PEERS) * (2 + 3 * (len(Ports) - 2))
    assert len({case.name for case in cases}) == len(cases)
    # Two families, three protocols of six ports and ICMP, to every kind of other end.
    assert {len(case.expected) for case in cases} == {2 * len(Other) * (3 * 6 + 1)}
