"""The index selects what the selector itself says of every thing."""

from hypothesis import given
from hypothesis import strategies as st

from compilers.compile.index import WORTH_KEEPING, LabelIndex, mask_of, positions
from compilers.model.selector import TAKES_VALUES, LabelSelector, Operator, Requirement

KEYS, VALUES = ("a", "b", "x.io/c"), ("", "1", "2", "3")
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(Operator))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1)) if operator in TAKES_VALUES else ()
    return Requirement(draw(st.sampled_from((*KEYS, "nobody"))), operator, tuple(values))


SELECTORS = st.builds(
    lambda labels, expressions: LabelSelector(tuple(labels.items()), tuple(expressions)),
    LABELS,
    st.lists(requirements(), max_size=3),
)


@given(st.lists(LABELS, max_size=20), SELECTORS)
def test_the_index_selects_what_the_selector_matches(
    things: list[dict[str, str]], selector: LabelSelector
) -> None:
    expected = [index for index, labels in enumerate(things) if selector.matches(labels)]
    assert list(positions(LabelIndex(things).select(selector))) == expected


@given(st.sets(st.integers(0, 200)))
def test_a_mask_holds_the_things_it_was_made_of(indices: set[int]) -> None:
    assert list(positions(mask_of(indices, 201))) == sorted(indices)


def test_a_mask_that_is_kept_answers_as_one_that_is_made() -> None:
    index = LabelIndex([{"a": str(number % 2)} for number in range(4 * WORTH_KEEPING)])
    even = LabelSelector((("a", "0"),))
    first = index.select(even)
    assert index.select(even) == first
    assert first.bit_count() == 2 * WORTH_KEEPING
