"""What nft lists: read or a ReadError, and what is read is written as it was read."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.nftables.lexer import ReadError
from compilers.nftables.reader import Strangers, read
from compilers.nftables.references import problems
from compilers.nftables.writer import write
from policy_controller.testing.agreement.tests import golden
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_text, long_inputs
from policy_controller.testing.fuzz.tests.told import ACCEPTED, COUNTED, Record, check_told
from policy_controller.testing.fuzz.tries import SECONDS, processor_seconds, tries

pytestmark = pytest.mark.timeout(900)

GOLDEN: Final = sorted(Path(golden.__file__).parent.glob("*.nft"), key=lambda path: path.stat().st_size)
WORDS: Final = (
    *(
        "accept",
        "drop",
        "return",
        "jump ",
        "goto ",
        "ct state ",
        "tcp dport ",
        "ip saddr ",
        "@",
        "{ ",
        " }",
        ", ",
        " : ",
    ),
    *(
        "0",
        "65536",
        "80-70",
        "10.0.0.0/8",
        "::/0",
        "::1.2.3.4",
        "fe80::/10",
        '"',
        "\n",
        ";",
        "#",
        "$x",
        "define x = ",
        "\\",
    ),
    *(
        "counter ",
        "limit rate 1/second ",
        "log group 7 ",
        "elements = ",
        "flags interval",
        "timeout 1h",
        "size 4",
        "type ipv4_addr",
    ),
    *(
        "expires 10s",
        "/* x */",
        "meta mark ",
        "vmap ",
        "!= ",
        "th dport ",
        "fib saddr type local ",
        "\u00e9",
        "\x00",
        "reject",
    ),
)
LONG: Final = ("{", "$x ", "#", " ", "\n", '"', "table inet t {", "define x = 1\n", "1.", "::", "a.", "a:")


def listed() -> list[str]:
    """Tables of files that hold several, each by itself."""
    found = []
    for path in GOLDEN[:8]:
        text = path.read_text()
        starts = [
            at
            for at in range(len(text))
            if text.startswith("table ", at) and (at == 0 or text[at - 1] == "\n")
        ]
        found += [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return found


LISTED: Final = listed()


def test_the_listings_that_the_tests_change_are_read() -> None:
    assert len(LISTED) >= len(GOLDEN[:8])
    for text in LISTED:
        read(text)


@pytest.mark.parametrize("strangers", Strangers, ids=lambda one: one.value)
def test_a_changed_listing_is_refused_or_written_as_it_was_read(
    strangers: Strangers, extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 80, 4_000)
    @given(changed_text(LISTED, WORDS))
    def check(text: str) -> None:
        tried.append(text)
        try:
            table = read(text, strangers=strangers)
        except ReadError:
            return
        accepted.append(text)
        list(problems(table))
        assert read(write(table), strangers=strangers) == table

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


@pytest.mark.parametrize("strangers", Strangers, ids=lambda one: one.value)
def test_any_text_is_refused(strangers: Strangers, extent: Extent, record_property: Record) -> None:
    tried = []

    @tries(extent, 100, 8_000)
    @given(
        st.text(max_size=200)
        | st.lists(st.sampled_from(("table inet t {", "chain c {", "}", *WORDS))).map(" ".join)
    )
    def check(text: str) -> None:
        tried.append(text)
        try:
            read(text, strangers=strangers)
        except ReadError as error:
            check_told(error)

    check()
    record_property(COUNTED, len(tried))


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "table inet t {{\n chain c {{\n{}",
        "table inet t {{\n set s {{\n type ipv4_addr\n elements = {{ {}",
    ],
)
@pytest.mark.parametrize("text", long_inputs(LONG, 1 << 15), ids=map(repr, LONG))
def test_no_listing_takes_longer_than_its_length_allows(text: str, around: str) -> None:
    def reading() -> None:
        with pytest.raises(ReadError):
            read(around.format(text), strangers=Strangers.KEEP)

    assert processor_seconds(reading) < SECONDS
