"""Deltas, each within its limits, cannot make a rule set that no snapshot could bring."""

import pytest

from compilers.model.faults import InvalidField
from compilers.ruleset.parts import PeerSet
from policy_controller.wire.limits import LIMITS, Limits, check_rule_set
from policy_controller.wire.tests.messages import OTHER_PEERS, rule_set

RULE_SET = rule_set(PeerSet(OTHER_PEERS))


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(sets=1), "peer_sets: has 2 entries, at most 1"),
        (Limits(classes=1), "classes: has 2 entries, at most 1"),
        (Limits(rules=5), "classes: have 6 rules together, at most 5"),
        (Limits(pods=1), "pods: has 2 entries, at most 1"),
        (Limits(legend_addresses=0), "legend: has 2 entries, at most 0"),
        (Limits(set_elements=1), "p-[0-9a-f]+: has 2 entries, at most 1"),
    ],
)
def test_a_rule_set_beyond_a_limit_is_named_by_it(limits: Limits, sentence: str) -> None:
    with pytest.raises(InvalidField, match=sentence):
        check_rule_set(RULE_SET, limits)


@pytest.mark.parametrize(
    "limits", [LIMITS, Limits(sets=2, classes=2, rules=6, pods=2, legend_addresses=1, set_elements=2)]
)
def test_a_rule_set_at_its_limits_is_accepted(limits: Limits) -> None:
    check_rule_set(RULE_SET, limits)
