"""Deltas and digests: what one rule set differs from another in, and what both ends compare."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given

from compilers.model.faults import InvalidField
from compilers.model.settings import Enforcement
from compilers.ruleset.delta import NOTHING, Delta, ElementChange, apply, difference
from compilers.ruleset.digest import MODULUS, digest_of
from compilers.ruleset.parts import PeerSet, PodEntry
from compilers.ruleset.rule_set import RuleSet
from compilers.ruleset.tests.rule_sets import PEER_NAMES, rule_sets


@given(rule_sets(), rule_sets())
def test_applying_the_difference_of_two_rule_sets_to_the_first_gives_the_second(
    old: RuleSet, new: RuleSet
) -> None:
    assert apply(difference(old, new), old) == new


@given(rule_sets())
def test_a_rule_set_does_not_differ_from_itself(rule_set: RuleSet) -> None:
    assert difference(rule_set, rule_set) == NOTHING


@given(rule_sets(), rule_sets())
def test_digests_are_equal_exactly_when_rule_sets_are(old: RuleSet, new: RuleSet) -> None:
    assert (digest_of(old) == digest_of(new)) is (old == new)
    assert 0 <= digest_of(old) < MODULUS


def test_a_changed_peer_set_travels_as_elements_not_as_a_set() -> None:
    name = PEER_NAMES[0]
    first, second = IPv4Address("10.244.1.1"), IPv4Address("10.244.1.2")
    old = RuleSet.of("node-a", peer_sets=[PeerSet(name, frozenset({first}))])
    new = RuleSet.of("node-a", peer_sets=[PeerSet(name, frozenset({second}))])

    delta = difference(old, new)

    assert delta == replace(
        NOTHING, changed_peer_sets=(ElementChange(name, added=(second,), removed=(first,)),)
    )


@pytest.mark.parametrize(
    "delta",
    [
        Delta(removed_pods=("uid-9",)),
        Delta(removed_peer_sets=(PEER_NAMES[1],)),
        Delta(added_peer_sets=(PeerSet(PEER_NAMES[0]),)),
        Delta(changed_peer_sets=(ElementChange(PEER_NAMES[1], added=(IPv4Address("10.0.0.1"),)),)),
        Delta(changed_peer_sets=(ElementChange(PEER_NAMES[0], removed=(IPv4Address("10.0.0.9"),)),)),
        Delta(changed_peer_sets=(ElementChange(PEER_NAMES[0], added=(IPv4Address("10.0.0.1"),)),)),
        Delta(put_pods=(PodEntry("uid-1", "shop", "web"),), removed_pods=("uid-1",)),
        Delta(enforcement=Enforcement.ENFORCED),
        Delta(enforcement=Enforcement.OFF),
    ],
    ids=[
        "no such pod",
        "no such set",
        "set is there",
        "set is not there",
        "no such element",
        "element is there",
        "both",
        "enforced already",
        "off, with sets",
    ],
)
def test_a_delta_for_another_state_does_not_fit(delta: Delta) -> None:
    rule_set = RuleSet.of(
        "node-a",
        peer_sets=[PeerSet(PEER_NAMES[0], frozenset({IPv4Address("10.0.0.1")}))],
        pods=[PodEntry("uid-1", "shop", "web")],
    )
    with pytest.raises(InvalidField):
        apply(delta, rule_set)


def test_rule_sets_of_two_nodes_have_no_difference() -> None:
    with pytest.raises(InvalidField, match="two nodes"):
        difference(RuleSet.of("node-a"), RuleSet.of("node-b"))
