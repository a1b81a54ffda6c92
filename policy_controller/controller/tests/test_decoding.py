"""JSON that no API server writes, and JSON that it writes and a decoder refuses."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.controller.decoding import DEEPEST, decoded, encoded, shallow


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


TEXTS = [
    (b'{"a": "\xff\xc3"}', {"a": "\ufffd\ufffd"}),
    (rb'{"a": "\ud800"}', {"a": "\ud800"}),
    (b'{"a": 1e400, "b": -1e400}', {"a": float("inf"), "b": float("-inf")}),
    (b'{"a": ' + b"9" * 5_000 + b"}", {"a": float("inf")}),
    (b'{"a": 1, "a": 2}', {"a": 2}),
    (rb'{"a": "\u0000\u001b[31m\u202e"}', {"a": "\0\x1b[31m\u202e"}),
    (b'{"a": Infinity}', {"a": float("inf")}),
]


@pytest.mark.parametrize(("text", "value"), TEXTS, ids=range(len(TEXTS)))
def test_what_can_be_read_is_read_and_written_again_in_one_line(text: bytes, value: object) -> None:
    assert decoded(text) == value
    assert json.loads(encoded(value)) == value
    assert b"\n" not in encoded(value)


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": }', b"\x00", b'{"a": "\n"}', b"\x1f\x8b\x08\x00gzip"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever decoder says it
        decoded(text)


@pytest.mark.parametrize("depth", [DEEPEST, 900, 10_000, 200_000])
def test_ten_thousand_levels_are_cut_and_what_stands_beside_them_stays(depth: int) -> None:
    text = b'{"metadata": {"name": "web", "managedFields": [' + nested(depth) + b']}, "spec": {"x": "[{"}}'
    value = decoded(text)
    assert isinstance(value, dict)
    assert value["metadata"]["name"] == "web"
    assert value["spec"] == {"x": "[{"}
    encoded(decoded(shallow(text)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_nothing_is_cut_from_what_is_not_deep(value: object) -> None:
    text = json.dumps(value).encode()
    assert shallow(text) == text


@given(st.binary(max_size=300) | st.text(alphabet='{}[]",:\\1a', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        encoded(decoded(shallow(text)))
