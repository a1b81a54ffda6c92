"""What is printed on standard error, in any pieces: every line of the log is one line of printable ASCII."""

import json
import logging
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.controller.identity.handshakes import Failure, classify
from policy_controller.logs import NativeLine
from policy_controller.logs.capture import LONGEST_LINE, Lines
from policy_controller.logs.lines import LONGEST_MESSAGE, PLACE, JsonLines, TextLines
from policy_controller.logs.native import NATIVE
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_bytes
from policy_controller.testing.fuzz.tests.told import COUNTED, Record
from policy_controller.testing.fuzz.tries import SECONDS, processor_seconds, tries

pytestmark = pytest.mark.timeout(900)

PRINTED: Final = [
    b"E0000 00:00:1764000000.123456    4711 ssl_transport_security.cc:1884] Handshake failed with error SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context\n",
    b"I0000 00:00:1764000000.123456    4711 chttp2_transport.cc:1] ipv4:10.0.0.9:40404: \x1b[31mhello\r\nE0000\n",
    b"free(): invalid pointer\n",
]
WORDS: Final = (
    b"\n",
    b"\r",
    b"\x1b]0;x\x07",
    b"\xe2\x80\xa8",
    b"\xff",
    b"Bearer abcdefghij",
    b"eyJhbGciOi.eyJhdWQiOi.",
    b"] ",
)


def test_whatever_is_printed_becomes_lines_of_printable_ascii(
    extent: Extent, record_property: Record
) -> None:
    tried = []

    @tries(extent, 200, 10_000)
    @given(st.lists(changed_bytes(PRINTED, WORDS) | st.binary(max_size=60), max_size=5))
    def check(prints: list[bytes]) -> None:
        tried.append(prints)
        cut = Lines(NativeLine.is_whole)
        for printed in [*(line for one in prints for line in cut.feed(one)), *cut.rest()]:
            assert len(printed) <= LONGEST_LINE
            line = NativeLine.parse(printed)
            assert classify(line.text) in {None, *Failure}
            record = logging.makeLogRecord(
                {"name": NATIVE, "msg": "%s", "args": (line.text,), "levelname": "ERROR", PLACE: line.place}
            )
            told = json.loads(JsonLines().format(record))
            assert len(told["message"]) <= LONGEST_MESSAGE + len("[cut]")
            for form in (JsonLines(), TextLines()):
                shown = form.format(record)
                assert shown.isascii()
                assert shown.isprintable()

    check()
    record_property(COUNTED, len(tried))


def test_no_print_takes_longer_than_its_length_allows() -> None:
    for piece in (
        b"Handshake failed with error ",
        b"Bearer ",
        b"eyJ",
        b"OPENSSL_internal:",
        b"E0000 00:00:1",
        b" ",
        b"-----BEGIN ",
    ):
        text = NativeLine.parse(piece * (LONGEST_LINE // len(piece)))

        def read(text: str = text.text) -> None:
            classify(text)
            classify("Handshake failed with error X: " + text)
            JsonLines().format(logging.makeLogRecord({"name": NATIVE, "msg": text}))

        assert processor_seconds(read) < SECONDS
