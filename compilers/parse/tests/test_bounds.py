"""What is too much to read is a fault that closes, found at once; and few faults are told of many."""

from os import times

import pytest

from compilers.model.policy import NetworkPolicy
from compilers.model.words import Direction
from compilers.parse.bounds import MOST_COMBINATIONS, MOST_FAULTS, MOST_VALUES
from compilers.parse.field import Origin
from compilers.parse.policy import parse_policy

Tree = dict[str, object]
ANYONE: Tree = {"ingress": [{}]}


def parsed(spec: Tree) -> NetworkPolicy:
    tree = {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": spec}
    value = parse_policy(tree, Origin.API).value
    assert value is not None
    return value


def blocks(count: int) -> Tree:
    return {
        "ipBlock": {
            "cidr": "10.0.0.0/8",
            "except": [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}/32" for i in range(count)],
        }
    }


def ports(count: int) -> list[Tree]:
    return [{"port": number + 1} for number in range(count)]


TOO_MUCH: dict[str, tuple[Tree, str]] = {
    "excepts": ({"ingress": [{"from": [blocks(MOST_VALUES)]}]}, "holds more than 32,768 values"),
    "rules": ({"ingress": [{}] * (MOST_COMBINATIONS + 1)}, "has 8,193 combinations"),
    "peers times ports": (
        {"ingress": [{"from": [{"podSelector": {}}] * 100, "ports": ports(100)}]},
        "has 10,000 combinations",
    ),
    "ports alone": ({"ingress": [{"ports": ports(MOST_COMBINATIONS + 1)}]}, "has 8,193 combinations"),
    "one deep rule": ({"ingress": [{"from": [[[[]] * MOST_VALUES]]}]}, "holds more than 32,768 values"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_rules_that_are_too_much_close_their_side_without_being_read(name: str) -> None:
    spec, sentence = TOO_MUCH[name]
    policy = parsed(spec)
    assert sentence in policy.sides[Direction.INGRESS].faults[0].reason
    assert len(policy.faults) == 1
    assert not policy.sides[Direction.INGRESS].rules


def test_a_selector_that_is_too_much_makes_every_pod_a_subject() -> None:
    expression = {"key": "a", "operator": "In", "values": ["1"] * MOST_VALUES}
    policy = parsed({"podSelector": {"matchExpressions": [expression]}, **ANYONE})
    assert policy.subject is None
    assert policy.sides[Direction.INGRESS].faults


@pytest.mark.parametrize(
    "spec",
    [
        {"ingress": [{"from": [blocks(30_000)]}]},
        {"ingress": [{"ports": ports(MOST_COMBINATIONS)}]},
        {"ingress": [{"from": [{"podSelector": {"matchLabels": {f"a{i}": "b"}}} for i in range(5_000)]}]},
        {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": 1}}}] * 5_000}]},
        {
            "podSelector": {
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": [f"v{i}" for i in range(30_000)]}
                ]
            }
        },
        {f"ingres{number}": [] for number in range(50_000)},
    ],
    ids=["excepts", "ports", "selectors", "faulty selectors", "values", "unknown fields"],
)
def test_what_is_within_the_bounds_is_read_in_time(spec: Tree) -> None:
    began = times().user
    parsed(spec)
    # While one object is read, no other is: half a second here.
    assert times().user - began < 5


def test_of_many_faults_few_are_told_and_both_sides_close() -> None:
    wrong = [{"from": [{"podSelector": {"matchLabels": {"app": number}}}]} for number in range(2_000)]
    wrong_ports = [{"ports": [{"port": 0}]}]
    policy = parsed({"ingress": wrong, "egress": wrong_ports, "policyTypes": ["Ingress", "Egress"]})
    assert len(policy.faults) == MOST_FAULTS + 1
    assert policy.faults[-1].reason == "has more faults, which are not told"
    for side in policy.sides.values():
        assert side.faults
        assert not side.rules


def test_a_field_name_is_told_in_few_characters_whatever_its_length() -> None:
    policy = parsed({"x" * 1_000_000: 1})
    assert len(str(policy.faults[0])) < 400
