"""What a record looks like, whatever it tells."""

import json
import logging

import pytest

from policy_controller.logs.lines import JsonLines, TextLines
from policy_controller.logs.safe import without_secrets

FORMS = pytest.mark.parametrize("form", [JsonLines(), TextLines()], ids=["json", "text"])
HOSTILE = [
    "a\nb",
    "\x1b[31mred",
    "\x9b31m",
    "\u202egnirts",
    "\u2028line",
    "\u2066isolated",
    "bell\x07",
    "\x7f",
    "\udcff",
    "zero\0",
    "\r\b\b",
]
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOlsicG9saWN5Il19.c2lnbmF0dXJl-_"
KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----"


def record(message: object, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    found = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("policy_controller", logging.INFO, "", 0, message, arguments, found)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error):
        return error


@FORMS
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_ends_no_line_and_begins_no_escape_sequence(form: logging.Formatter, name: str) -> None:
    line = form.format(record("node %s", name))
    assert all(" " <= character <= "~" for character in line)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_json_gives_a_name_back_as_it_was(name: str) -> None:
    assert json.loads(JsonLines().format(record("node %s", name)))["message"] == f"node {name}"


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_what_an_exception_holds_begins_no_record(name: str) -> None:
    error = raised(ValueError(f"{name}\n2026-11-24T00:00:00.000Z ERROR forged"))
    first, *rest = TextLines().format(record("refused", error=error)).split("\n")
    assert first.endswith("INFO    policy_controller: refused")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() and line.isascii() for line in rest)
    assert JsonLines().format(record("refused", error=error)).isprintable()


@FORMS
def test_a_record_is_short_whatever_a_library_tells(form: logging.Formatter) -> None:
    error = raised(ValueError("x" * 1_000_000))
    assert len(form.format(record("%r", {"object": "y" * 1_000_000}, error=error))) < 12_000


@pytest.mark.parametrize(("length", "is_cut"), [(1, False), (2_000, False), (2_001, True), (100_000, True)])
def test_a_message_that_is_cut_says_so(length: int, is_cut: bool) -> None:
    message = json.loads(JsonLines().format(record("x" * length)))["message"]
    assert message == "x" * min(length, 2_000) + ("[cut]" if is_cut else "")


def test_the_end_of_a_long_traceback_is_kept() -> None:
    told = json.loads(
        JsonLines().format(record("refused", error=raised(ValueError("x" * 100_000 + "the end"))))
    )
    assert told["exception"].startswith("[cut]xxx")
    assert told["exception"].endswith("the end")


SECRETS: list[tuple[str, str]] = [
    (f"authorization: Bearer {TOKEN}", TOKEN),
    ("Authorization: bearer abcdefgh01234567=", "abcdefgh01234567"),
    (f"{{'token': '{TOKEN}'}}", TOKEN),
    (f"x{'-' * 3}{TOKEN[:60]}", TOKEN[40:60]),
    (f"read {KEY} from a Secret", "MC4CAQAwBQYDK2VwBCIEIA"),
    (KEY.replace("PRIVATE", "RSA PRIVATE")[:60], "MC4CAQAwBQYDK2Vw"),
    (repr(KEY), "MC4CAQAwBQYDK2VwBCIEIA"),
]


@FORMS
@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_tokens_and_private_keys_are_left_out(form: logging.Formatter, text: str, secret: str) -> None:
    assert secret in text
    for line in (form.format(record(text)), form.format(record("failed", error=raised(ValueError(text))))):
        assert secret not in line
        assert "[redacted]" in line


@FORMS
def test_a_secret_that_the_limit_cuts_is_left_out(form: logging.Formatter) -> None:
    text = "x " * 990 + TOKEN
    assert len(text) > 2_000
    assert TOKEN[:12] not in form.format(record(text))


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@FORMS
@pytest.mark.parametrize(
    ("message", "arguments"), [("%d pods", ("many",)), ("%s", ()), ("%s %s", (1,)), ("%s", (Unshowable(),))]
)
def test_arguments_that_do_not_fit_lose_no_record(
    form: logging.Formatter, message: str, arguments: tuple[object, ...]
) -> None:
    assert message in form.format(record(message, *arguments))


@pytest.mark.parametrize("piece", ["eyJ-", "-eyJ", "eyJaaaaaaaa", "bearer ", "-----BEGIN RSA "])
def test_looking_for_secrets_takes_no_longer_than_a_text_is_long(piece: str) -> None:
    """Were it quadratic, this would take hours."""
    text = piece * 500_000
    assert without_secrets(text) == text


def test_a_time_is_utc_with_milliseconds() -> None:
    told = record("")
    told.created = 1_732_451_175.0599
    assert json.loads(JsonLines().format(told))["time"] == "2024-11-24T12:26:15.059Z"
