"""Lines of C libraries: what they are read as, and how many are told."""

import logging

import pytest

from policy_controller.logs.native import NATIVE, NativeLine, NativeLines
from policy_controller.logs.restraint import BURST, EACH_SECOND

FAILED = "Handshake failed with error SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
CASES = [
    (
        f"I1124 12:26:15.591234 14185 ssl_transport_security.cc:2563] {FAILED}",
        NativeLine(logging.INFO, "ssl_transport_security.cc:2563", FAILED),
    ),
    ("I1124 12:26:15.59 14185 a.cc:1] x", NativeLine(logging.INFO, "a.cc:1", "x")),
    (
        "E0000 00:00:1732451175.591234    7 src/core/x.cc:9] bad",
        NativeLine(logging.ERROR, "src/core/x.cc:9", "bad"),
    ),
    ("W1124 12:26:15.591234 1 a-b_c.h:70000] ", NativeLine(logging.WARNING, "a-b_c.h:70000", "")),
    (
        "F1124 12:26:15.591234 1 a.cc:1] Check failed: x ] y",
        NativeLine(logging.CRITICAL, "a.cc:1", "Check failed: x ] y"),
    ),
    (
        "BUG: unknown expression type set reference",
        NativeLine(logging.WARNING, None, "BUG: unknown expression type set reference"),
    ),
    (
        "X1124 12:26:15.591234 1 a.cc:1] x",
        NativeLine(logging.WARNING, None, "X1124 12:26:15.591234 1 a.cc:1] x"),
    ),
    (
        "I1124 12:26:15.591234 1 a b.cc:1] x",
        NativeLine(logging.WARNING, None, "I1124 12:26:15.591234 1 a b.cc:1] x"),
    ),
    ("\x1b[2J", NativeLine(logging.WARNING, None, "\x1b[2J")),
]


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("text", "line"), CASES, ids=[text[:24] for text, _ in CASES])
def test_a_line_is_read_by_its_prefix(text: str, line: NativeLine) -> None:
    assert NativeLine.parse(text.encode()) == line


def test_a_line_that_is_no_text_is_read_all_the_same() -> None:
    assert NativeLine.parse(b"\xff\xfe\x00x").text == "\\xff\\xfe\x00x"


def test_a_flood_is_told_to_subscribers_whole_and_to_the_log_in_part(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    time, heard = Time(), list[NativeLine]()
    lines = NativeLines(time)
    lines.subscribe(heard.append)
    one = NativeLine(logging.INFO, "a.cc:1", FAILED)

    for _ in range(BURST + 50):
        lines.tell(one)
    assert (len(heard), len(caplog.records)) == (BURST + 50, BURST)

    time.now += 3 / EACH_SECOND
    for _ in range(5):
        lines.tell(one)
    lines.finish()
    lines.finish()
    told = [record.getMessage() for record in caplog.records[BURST:]]
    left_out = "%d lines of libraries were left out"
    assert told == [left_out % 50, FAILED, FAILED, FAILED, left_out % 2]
    assert {record.name for record in caplog.records} == {NATIVE}


def test_the_last_words_of_a_library_are_told_in_a_flood_too(caplog: pytest.LogCaptureFixture) -> None:
    lines = NativeLines(Time())
    for _ in range(BURST + 1):
        lines.tell(NativeLine(logging.ERROR, None, "noise"))
    lines.tell(NativeLine(logging.CRITICAL, "a.cc:1", "Check failed"))
    assert caplog.records[-1].getMessage() == "Check failed"


def test_a_subscriber_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    lines, heard = NativeLines(Time()), list[NativeLine]()

    def fails(_: NativeLine) -> None:
        raise RuntimeError("cannot")

    lines.subscribe(fails)
    lines.subscribe(heard.append)
    lines.tell(NativeLine(logging.ERROR, None, "x"))
    assert len(heard) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "a line of a library could not be taken",
        "x",
    ]
