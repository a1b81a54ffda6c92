"""Selectors: what each operator asks of labels, and what the API forbids."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import InvalidField
from compilers.model.selector import (
    EVERYTHING,
    LabelSelector,
    Operator,
    Requirement,
    check_label_key,
    check_label_value,
    quoted,
)

LABELS: tuple[dict[str, str], ...] = (
    {},
    {"app": ""},
    {"app": "web"},
    {"app": "db"},
    {"tier": "web"},
    {"app": "web", "tier": "db"},
)
TRUTH: tuple[tuple[Requirement, tuple[bool, ...]], ...] = (
    # Labels:                                        none   empty  web    db     other  web+other
    (Requirement("app", Operator.IN, ("web",)), (False, False, True, False, False, True)),
    (Requirement("app", Operator.IN, ("web", "db")), (False, False, True, True, False, True)),
    (Requirement("app", Operator.IN, ("",)), (False, True, False, False, False, False)),
    # "Labels and Selectors": "all resources with key equal to tier and values other than frontend and backend, and all
    # resources with no labels with the tier key".
    (Requirement("app", Operator.NOT_IN, ("web",)), (True, True, False, True, True, False)),
    (Requirement("app", Operator.NOT_IN, ("web", "db")), (True, True, False, False, True, False)),
    (Requirement("app", Operator.NOT_IN, ("",)), (True, False, True, True, True, True)),
    (Requirement("app", Operator.EXISTS), (False, True, True, True, False, True)),
    (Requirement("app", Operator.DOES_NOT_EXIST), (True, False, False, False, True, False)),
)


@pytest.mark.parametrize(("requirement", "expected"), TRUTH, ids=str)
def test_operators_match_as_their_truth_table_says(
    requirement: Requirement, expected: tuple[bool, ...]
) -> None:
    assert tuple(requirement.matches(labels) for labels in LABELS) == expected
    selector = LabelSelector(match_expressions=(requirement,))
    assert tuple(not selector.mismatches(labels) for labels in LABELS) == expected


def test_match_labels_and_expressions_must_all_hold() -> None:
    # API, LabelSelector: "The result of matchLabels and matchExpressions are ANDed."
    selector = LabelSelector((("app", "web"),), (Requirement("tier", Operator.EXISTS),))

    assert [selector.matches(labels) for labels in LABELS] == [False] * 5 + [True]
    assert selector.mismatches({"tier": "x"}) == ("app=web",)
    assert selector.mismatches({"app": "web"}) == ("tier",)


def test_the_empty_selector_matches_everything() -> None:
    # API, LabelSelector: "An empty label selector matches all objects."
    assert all(EVERYTHING.matches(labels) for labels in LABELS)


KEYS = st.sampled_from(["app", "tier", "example.com/app"])
VALUES = st.sampled_from(["", "a", "b", "web-1"])
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(VALUES, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Requirement, KEYS, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)


@given(labels=st.dictionaries(KEYS, VALUES), conditions=st.lists(REQUIREMENTS, max_size=4), subject=st.data())
def test_order_and_repeats_change_neither_value_nor_text(
    labels: dict[str, str], conditions: list[Requirement], subject: st.DataObject
) -> None:
    shuffled = subject.draw(st.permutations(conditions * 2))
    one = LabelSelector(tuple(labels.items()), tuple(conditions))
    other = LabelSelector(tuple(reversed(labels.items())), tuple(shuffled))

    assert one == other
    assert str(one) == str(other)
    assert hash(one) == hash(other)


@given(REQUIREMENTS, st.dictionaries(KEYS, VALUES))
def test_each_operator_is_the_opposite_of_its_counterpart(
    requirement: Requirement, labels: dict[str, str]
) -> None:
    opposite = {
        Operator.IN: Operator.NOT_IN,
        Operator.NOT_IN: Operator.IN,
        Operator.EXISTS: Operator.DOES_NOT_EXIST,
        Operator.DOES_NOT_EXIST: Operator.EXISTS,
    }[requirement.operator]

    assert Requirement(requirement.key, opposite, requirement.values).matches(
        labels
    ) is not requirement.matches(labels)


@pytest.mark.parametrize(
    ("operator", "values", "path"),
    [
        (Operator.IN, (), ("values",)),
        (Operator.NOT_IN, (), ("values",)),
        (Operator.EXISTS, ("a",), ("values",)),
        (Operator.DOES_NOT_EXIST, ("a",), ("values",)),
        (Operator.IN, ("a", "not legal"), ("values", 1)),
    ],
)
def test_values_that_an_operator_does_not_take_are_refused(
    operator: Operator, values: tuple[str, ...], path: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidField) as refused:
        Requirement("app", operator, values)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("key", "legal"),
    [
        ("app", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("A.b_c-9", True),
        ("example.com/app", True),
        ("a" * 253 + "/app", True),
        ("a" * 254 + "/app", False),
        ("Example.com/app", False),
        ("/app", False),
        ("example.com/", False),
        ("a/b/c", False),
        ("", False),
        ("-app", False),
        ("app-", False),
        ("app\n", False),
        ("äpp", False),
    ],
)
def test_label_keys_are_qualified_names(key: str, legal: bool) -> None:
    if legal:
        check_label_key(key)
        assert LabelSelector(((key, "x"),)).matches({key: "x"})
        return
    with pytest.raises(InvalidField):
        check_label_key(key)
    with pytest.raises(InvalidField):
        LabelSelector(((key, "x"),))


@pytest.mark.parametrize("value", ["", "a", "a" * 63, "A.b_c-9"])
def test_legal_label_values_are_accepted(value: str) -> None:
    check_label_value(value)


@pytest.mark.parametrize("value", ["a" * 64, "-", ".a", "a b", "a\n", "a/b", "*"])
def test_illegal_label_values_are_refused(value: str) -> None:
    with pytest.raises(InvalidField):
        check_label_value(value)


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_quoted_text_is_one_printable_line(text: str) -> None:
    shown = quoted(text)

    assert re.fullmatch(r'"[\x20-\x7e…]*"', shown)
    assert len(shown) <= 2 + 81 * len("\\U0001f600")
    assert not re.search(r'(?<!\\)(?:\\\\)*"', shown[1:-1])
