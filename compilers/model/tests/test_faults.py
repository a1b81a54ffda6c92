"""Faults: how a field is named, and that nothing hostile reaches the line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import Fault, FieldPath, InvalidField, ObjectRef, Position, path_text
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("spec",), "spec"),
        (("spec", "ingress", 0, "ports", 1, "port"), "spec.ingress[0].ports[1].port"),
        (("labels", "app.kubernetes.io/name"), 'labels["app.kubernetes.io/name"]'),
        (("labels", ""), 'labels[""]'),
        (("labels", 'a"]\n\x1b[2J'), 'labels["a\\"]\\n\\x1b[2J"]'),
    ],
)
def test_paths_read_as_admins_write_them(path: FieldPath, text: str) -> None:
    assert path_text(path) == text


@given(st.lists(st.text() | st.integers(0, 9)).map(tuple))
def test_path_text_is_one_printable_line(path: FieldPath) -> None:
    assert all(char == "…" or " " <= char <= "~" for char in path_text(path))


def test_a_fault_says_place_object_field_and_reason() -> None:
    fault = Fault(
        ObjectRef("NetworkPolicy", "shop", "web"), ("spec", "egress", 0), "is wrong", Position("f.yaml", 3, 5)
    )

    assert str(fault) == "f.yaml:3:5: NetworkPolicy shop/web: spec.egress[0]: is wrong"
    assert str(Fault(ObjectRef("Node", "", "one"), (), "is wrong")) == "Node one: is wrong"


def test_faults_sort_although_their_paths_mix_words_and_numbers() -> None:
    ref = ObjectRef("Pod", "shop", "web")
    faults = [Fault(ref, ("a", "b"), "x"), Fault(ref, ("a", 0), "x"), Fault(ref, ("a",), "x")]

    assert [fault.where for fault in sorted(faults)] == ["a", "a.b", "a[0]"]


def test_an_invalid_field_is_seen_from_the_object_that_holds_it() -> None:
    fault = InvalidField("is wrong", ("except", 0)).under(("spec", "ipBlock"))

    assert str(fault) == "spec.ipBlock.except[0]: is wrong"


def test_a_side_with_faults_admits_nothing() -> None:
    fault = Fault(ObjectRef("NetworkPolicy", "shop", "web"), ("spec",), "is wrong")

    with pytest.raises(InvalidField):
        Side(rules=(PolicyRule(None, None),), faults=(fault,))
    with pytest.raises(InvalidField):
        SelectorPeer(None, None)


def test_a_policy_selects_only_in_its_own_namespace_and_everything_there_when_unreadable() -> None:
    sides = {Direction.INGRESS: Side()}
    readable = NetworkPolicy("shop", "web", "u", EVERYTHING, sides)
    unreadable = NetworkPolicy("shop", "web", "u", None, sides)

    assert [policy.selects("shop", {}) for policy in (readable, unreadable)] == [True, True]
    assert [policy.selects("bank", {}) for policy in (readable, unreadable)] == [False, False]


def test_a_position_is_that_of_the_nearest_field_in_the_file() -> None:
    spec = Position("f.yaml", 3, 1)
    policy = NetworkPolicy("shop", "web", "u", EVERYTHING, {}, positions={("spec",): spec})

    assert policy.position_of(("spec", "ingress", 0)) == spec
    assert policy.position_of(("metadata",)) is None
