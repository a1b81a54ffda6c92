"""Plain scalars: the words and numbers of YAML 1.1 as Kubernetes reads them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.parse.scalars import Scalar, plain_scalar


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        ("y Y yes Yes YES true True TRUE on On ON", True),
        ("n N no No NO false False FALSE off Off OFF", False),
        ("~ null Null NULL", None),
        ("80 +80 0x50 0X50 0o120 0120 0b1010000 8_0", 80),
        ("-80 -0x50 -0120", -80),
        ("0 -0 00 0x0", 0),
        ("8e1 80.0 80. +8.0e+1 080", 80.0),
        (".5 0.5 5e-1", 0.5),
        (".inf .Inf +.INF 1e999", math.inf),
        ("-.inf -.Inf", -math.inf),
    ],
)
def test_words_and_numbers_without_quotes_are_no_strings(texts: str, value: Scalar) -> None:
    for text in texts.split():
        read = plain_scalar(text)
        assert read == value, text
        assert type(read) is type(value), text
    assert plain_scalar("") is None


@pytest.mark.parametrize(
    "text",
    [
        "2001-12-14",
        "2001-12-14T21:59:43Z",
        "190:20:30",
        "1:2",
        "yEs",
        "oN",
        "nUll",
        "0x",
        "0xg",
        "0b2",
        "0o8",
        "1.2.3",
        "1e",
        "-",
        "+",
        ".",
        "...",
        "10.0.0.0/8",
        "1a",
        "e1",
        "<<",
        "=",
        "inf",
        "nan",
        "_1x",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert plain_scalar(text) == text


def test_not_a_number_is_a_float() -> None:
    read = plain_scalar(".NaN")

    assert isinstance(read, float)
    assert math.isnan(read)


def test_a_number_of_any_length_is_read() -> None:
    assert plain_scalar("9" * 10_000) == math.inf
    assert plain_scalar("0x" + "9" * 10_000) == "0x" + "9" * 10_000


@given(st.integers(-(2**63), 2**63))
def test_integers_are_read_as_they_are_written(number: int) -> None:
    assert plain_scalar(str(number)) == number
    assert plain_scalar(hex(number)) == number
    assert plain_scalar(oct(number)) == number
    assert plain_scalar(bin(number)[:60]) == int(bin(number)[:60], 2)


@given(st.text() | st.text(alphabet="0123456789+-.eExXbo_yn"))
def test_any_text_is_a_scalar(text: str) -> None:
    assert isinstance(plain_scalar(text), str | int | float | None)
