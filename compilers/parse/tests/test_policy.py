"""Policies: what the API means by absent, empty and default, and what a fault closes."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import path_text
from compilers.model.policy import NetworkPolicy, PolicyRule, Side
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction
from compilers.parse.policy import Origin, Parsed, parse_policy
from compilers.parse.tests.trees import JSON, POLICIES, Tree, policy_of, policy_tree

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
ANYTHING = PolicyRule(None, None)


def read(tree: Tree, origin: Origin = Origin.FILE) -> tuple[NetworkPolicy, set[str]]:
    parsed = parse_policy(tree, origin)
    assert parsed.value is not None, parsed.faults
    assert parsed.value.faults == parsed.faults
    return parsed.value, {path_text(fault.path) for fault in parsed.faults}


@given(POLICIES, st.sampled_from(Origin))
def test_a_well_formed_policy_comes_back_as_the_model_it_was_written_from(
    policy: NetworkPolicy, origin: Origin
) -> None:
    assert parse_policy(policy_tree(policy), origin) == Parsed(policy, (), ())


@pytest.mark.parametrize(
    ("spec", "sides"),
    [
        # API, policyTypes: "all policies (whether or not they contain an ingress section) are assumed to affect ingress".
        ({}, {INGRESS: ()}),
        (None, {INGRESS: ()}),
        ({"egress": []}, {INGRESS: ()}),
        ({"egress": None}, {INGRESS: ()}),
        ({"policyTypes": []}, {INGRESS: ()}),
        ({"policyTypes": None, "egress": [{}]}, {INGRESS: (), EGRESS: (ANYTHING,)}),
        ({"egress": [{}]}, {INGRESS: (), EGRESS: (ANYTHING,)}),
        ({"ingress": [{}]}, {INGRESS: (ANYTHING,)}),
        ({"ingress": []}, {INGRESS: ()}),
        ({"ingress": None}, {INGRESS: ()}),
        ({"policyTypes": ["Egress"]}, {EGRESS: ()}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {EGRESS: ()}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {INGRESS: ()}),
        ({"policyTypes": ["Egress", "Ingress"]}, {INGRESS: (), EGRESS: ()}),
        ({"policyTypes": ["Egress", "Egress"]}, {EGRESS: ()}),
    ],
)
def test_policy_types_and_their_default_decide_which_sides_there_are(
    spec: Tree | None, sides: dict[Direction, tuple[PolicyRule, ...]]
) -> None:
    tree = policy_of() | {"spec": spec}
    policy, faults = read(tree)

    assert not faults
    assert policy.sides == {direction: Side(rules=rules) for direction, rules in sides.items()}
    tree.pop("spec") if spec is None else None
    assert read(tree)[0] == policy


@pytest.mark.parametrize("spec", [{}, {"podSelector": None}, {"podSelector": {}}])
def test_a_missing_pod_selector_is_the_empty_one(spec: Tree) -> None:
    # API, podSelector: "This field is optional. If it is not specified, it defaults to an empty selector."
    assert read(policy_of(**spec))[0].subject == EVERYTHING


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ANYTHING),
        ({"from": None, "ports": None}, ANYTHING),
        ({"from": []}, PolicyRule((), None)),
        ({"ports": []}, PolicyRule(None, ())),
    ],
)
def test_absent_and_empty_lists_of_a_rule_are_kept_apart(rule: Tree, expected: PolicyRule) -> None:
    policy, _ = read(policy_of(ingress=[rule]))

    assert policy.sides[INGRESS].rules == (expected,)


BOTH = ["Ingress", "Egress"]
GOOD = [{"ports": [{"port": 80}]}]
CLOSING: tuple[tuple[str, Tree, set[Direction], set[str]], ...] = (
    # what is wrong, spec, closed sides, paths of the faults
    ("a rule of ingress", {"ingress": ["x"], "egress": GOOD}, {INGRESS}, {"spec.ingress[0]"}),
    ("a rule of egress", {"egress": [None], "ingress": GOOD}, {EGRESS}, {"spec.egress[0]"}),
    ("one rule of two", {"ingress": [{}, {"form": []}]}, {INGRESS}, {"spec.ingress[1].form"}),
    ("ingress itself", {"ingress": {}, "egress": GOOD}, {INGRESS}, {"spec.ingress"}),
    ("egress itself, no types", {"egress": "x", "ingress": GOOD}, {EGRESS}, {"spec.egress"}),
    ("a field of spec", {"ingress": GOOD, "egress": GOOD, "deny": 1}, {INGRESS, EGRESS}, {"spec.deny"}),
    ("a field of spec, one side", {"ingress": GOOD, "egres": []}, {INGRESS, EGRESS}, {"spec.egres"}),
    ("policyTypes misspelt", {"policytypes": ["Egress"]}, {INGRESS, EGRESS}, {"spec.policytypes"}),
    (
        "a field beside one type",
        {"policyTypes": ["Egress"], "deny": {}},
        {INGRESS, EGRESS},
        {"spec.deny"},
    ),
    (
        "the podSelector",
        {"podSelector": {"matchLabels": {"a": 1}}, "ingress": GOOD, "egress": GOOD},
        {INGRESS, EGRESS},
        {"spec.podSelector.matchLabels.a"},
    ),
    (
        "a policy type",
        {"policyTypes": ["ingress"], "ingress": GOOD},
        {INGRESS, EGRESS},
        {"spec.policyTypes[0]"},
    ),
    ("policyTypes itself", {"policyTypes": "Ingress"}, {INGRESS, EGRESS}, {"spec.policyTypes"}),
    ("three types", {"policyTypes": [*BOTH, "Egress"]}, {INGRESS, EGRESS}, {"spec.policyTypes"}),
    ("null as a type", {"policyTypes": [None]}, {INGRESS, EGRESS}, {"spec.policyTypes[0]"}),
    (
        "everything at once",
        {"podSelector": [], "policyTypes": [7], "ingress": 1, "egress": [{"ports": [{"port": True}]}]},
        {INGRESS, EGRESS},
        {"spec.podSelector", "spec.policyTypes[0]", "spec.ingress", "spec.egress[0].ports[0].port"},
    ),
)


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize(
    ("spec", "closed", "paths"), [case[1:] for case in CLOSING], ids=[case[0] for case in CLOSING]
)
def test_a_fault_closes_its_side_and_nothing_else(
    origin: Origin, spec: Tree, closed: set[Direction], paths: set[str]
) -> None:
    policy, faults = read(policy_of(**spec), origin)

    assert faults == paths
    assert {direction for direction, side in policy.sides.items() if side.faults} == closed
    assert all(side.rules for direction, side in policy.sides.items() if direction not in closed)


def test_an_unreadable_pod_selector_makes_every_pod_a_subject_and_tells_both_sides_why() -> None:
    policy, _ = read(policy_of(podSelector={"matchLabel": {}}, ingress=GOOD, egress=GOOD))

    assert policy.subject is None
    assert [side.faults for side in policy.sides.values()] == [policy.faults, policy.faults]


def test_rules_of_a_direction_without_effect_still_tell_their_faults() -> None:
    policy, faults = read(policy_of(policyTypes=["Egress"], ingress=["x"], egress=GOOD))

    assert faults == {"spec.ingress[0]"}
    assert set(policy.sides) == {EGRESS}
    assert policy.sides[EGRESS].rules


@pytest.mark.parametrize("spec", ["x", [], 7, True])
def test_a_spec_that_is_no_mapping_closes_every_pod_in_both_directions(spec: object) -> None:
    policy, faults = read(policy_of() | {"spec": spec})

    assert faults == {"spec"}
    assert policy.subject is None
    assert {direction: bool(side.faults) for direction, side in policy.sides.items()} == {
        INGRESS: True,
        EGRESS: True,
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"metadata": None}, "metadata.name"),
        ({"metadata": {"name": "web"}}, "metadata.namespace"),
        ({"metadata": {"namespace": "shop"}}, "metadata.name"),
        ({"metadata": {"namespace": "shop", "name": "Web"}}, "metadata.name"),
        ({"metadata": {"namespace": "a.b", "name": "web"}}, "metadata.namespace"),
        ({"metadata": {"namespace": "shop", "name": 7}}, "metadata.name"),
        ({"metadata": []}, "metadata"),
        ({"kind": "Pod"}, "kind"),
    ],
)
def test_without_a_legal_name_there_is_no_policy(changes: Tree, path: str) -> None:
    parsed = parse_policy(policy_of() | changes, Origin.FILE)

    assert parsed.value is None
    assert path in {path_text(fault.path) for fault in parsed.faults}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"apiVersion": "extensions/v1beta1"}, "apiVersion"),
        ({"apiVersion": None}, "apiVersion"),
        ({"sepc": {}}, "sepc"),
    ],
)
def test_a_fault_beside_the_spec_closes_the_policy(changes: Tree, path: str) -> None:
    policy, faults = read(policy_of(ingress=[{}]) | changes)

    assert faults == {path}
    assert policy.sides[INGRESS].faults


def test_a_misspelt_spec_closes_both_directions_of_every_pod() -> None:
    tree = policy_of(policyTypes=["Egress"])
    tree["sepc"] = tree.pop("spec")

    policy, faults = read(tree)

    assert "sepc" in faults
    assert all(policy.sides[direction].faults for direction in Direction)
    assert policy.selects(policy.namespace, {"any": "label"})


def test_items_of_an_api_list_need_neither_kind_nor_version() -> None:
    tree = policy_of(ingress=[{}])
    del tree["kind"], tree["apiVersion"]

    assert read(tree, Origin.API)[0].sides == {INGRESS: Side(rules=(ANYTHING,))}


def test_metadata_and_status_are_not_judged() -> None:
    tree = policy_of(ingress=[{}]) | {"status": {"conditions": 7}}
    tree["metadata"] |= {"annotations": {1: True}, "labels": 7, "new": {}}

    assert read(tree)[1] == set()


def assert_closed(parsed: Parsed[NetworkPolicy]) -> None:
    if parsed.value is None:
        assert parsed.faults
        return
    assert parsed.value.sides
    outside = [
        fault for fault in parsed.faults if fault.path[:2] not in {("spec", "ingress"), ("spec", "egress")}
    ]
    for direction, side in parsed.value.sides.items():
        inside = [fault for fault in parsed.faults if fault.path[:2] == ("spec", direction.field)]
        assert set(side.faults) == {*outside, *inside}
        assert not (side.faults and side.rules)
    if parsed.value.subject is None:
        assert outside


@given(JSON, st.sampled_from(Origin))
def test_any_tree_is_a_policy_or_faults(tree: object, origin: Origin) -> None:
    assert_closed(parse_policy(tree, origin))


@given(POLICIES, st.data(), JSON, st.sampled_from(Origin))
def test_a_policy_with_any_value_replaced_is_read_or_closed(
    policy: NetworkPolicy, data: st.DataObject, value: object, origin: Origin
) -> None:
    tree = policy_tree(policy)
    spot: Any = tree
    key: Any = data.draw(st.sampled_from(sorted(tree)))
    while isinstance(spot[key], dict | list) and spot[key] and data.draw(st.integers(0, 5)):
        spot = spot[key]
        key = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
    spot[key] = value
    before = copy.deepcopy(tree)

    assert_closed(parse_policy(tree, origin))
    assert repr(tree) == repr(before), "the tree is not changed"


@given(st.dictionaries(st.sampled_from(["podSelector", "policyTypes", "ingress", "egress", "x"]), JSON))
def test_any_spec_is_read_or_closed(spec: Tree) -> None:
    assert_closed(parse_policy(policy_of(**spec), Origin.API))
