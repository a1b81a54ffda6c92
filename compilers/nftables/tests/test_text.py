"""Text and values: the same table both ways, and errors that say where."""

import pickle

import pytest
from hypothesis import given, settings

from compilers.nftables.expressions import Unreadable
from compilers.nftables.lexer import ReadError
from compilers.nftables.reader import Strangers, read
from compilers.nftables.references import problems
from compilers.nftables.table import Table
from compilers.nftables.tests.generated import tables
from compilers.nftables.writer import rule_text, write


@given(tables())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_as_the_same_table(table: Table) -> None:
    assert list(problems(table)) == []

    assert read(write(table)) == table


def _of_rule(rule: str) -> str:
    return f"table inet t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n"


# What stands in a template or a listing, and its canonical form where that differs.
RULES = [
    ("ct state related,established accept", "ct state established,related accept"),
    ("tcp dport { 443, 80, 80 } return", "tcp dport { 80, 443 } return"),
    ("tcp dport { 80 } return", "tcp dport 80 return"),
    ('iifname { "cni0" } drop', 'iifname "cni0" drop'),
    ('iifname { "zeta", "br-a", "a" } drop', 'iifname { "a", "br-a", "zeta" } drop'),
    ("limit rate 10/second burst 5 packets drop", "limit rate 10/second drop"),
    ("counter packets 7 bytes 700 drop", "counter drop"),
    ("meta l4proto { 6, 17, 132 } accept", "meta l4proto { tcp, udp, sctp } accept"),
    ("meta l4proto icmpv6 accept", "meta l4proto ipv6-icmp accept"),
    ("icmpv6 type 135 accept", "icmpv6 type nd-neighbor-solicit accept"),
    ("ether type { vlan, 0x800 } drop", "ether type { ip, 8021q } drop"),
    ("tcp dport 8000-8100 return", None),
    ("ip daddr . meta l4proto . th dport @n4-0a ip saddr @p4-0b return", None),
    ("ip6 saddr fe80::/10 jump link-local", None),
    ("fib saddr type local return", None),
    ("limit rate over 1000/second burst 200 packets counter return", None),
    ("drop # reason", "drop"),
]


@pytest.mark.parametrize(("text", "canonical"), RULES)
def test_a_rule_is_written_as_nft_lists_it(text: str, canonical: str | None) -> None:
    (rule,) = read(_of_rule(text)).chain("c").rules

    assert rule_text(rule) == (canonical or text)


REFUSED = [
    ("tcp dport 80-70 return", 3, "ends before it starts"),
    ("tcp dport http return", 3, "not a known inet_service"),
    ("tcp dport 65536 return", 3, "outside 0..65535"),
    ("ip saddr fe80::1 return", 3, "fe80::1"),
    ("ip saddr 10.0.0.1/8 return", 3, "host bits"),
    ("udp sport 5 return", 3, "not a field"),
    ("masquerade", 3, "not in the language"),
    ("drop accept", 3, "nothing can follow a verdict"),
    ("ip saddr @s4 ip6 saddr @s6 drop", 3, "ip and ip6"),
    ("meta l4proto tcp tcp dport 80 return", 3, "leaves out"),
    ("ct state tracked accept", 3, "not a conntrack state"),
    ("jump drop", 3, "word of the nft language"),
    ("log prefix E group 1 snaplen 96", 3, "quoted prefix"),
    ("limit rate 5/minute drop", 3, "N/second"),
    ("iifname $nobody drop", 3, "$nobody is not defined"),
    ('iifname "a b" drop', 3, "[A-Za-z0-9_.-]"),
    ("drop ? ", 3, "'?' is not read here"),
]


@pytest.mark.parametrize(("rule", "line", "reason"), REFUSED)
def test_what_is_outside_the_language_is_an_error_with_its_place(rule: str, line: int, reason: str) -> None:
    with pytest.raises(ReadError) as caught:
        read(_of_rule(rule))

    assert reason in caught.value.reason
    assert caught.value.line == line
    assert 3 <= caught.value.column <= 3 + len(rule)
    assert caught.value.chain == "c"


WRONG_TABLES = [
    ("table inet t {\n", 2),
    ("table ip t {\n}\n", 1),
    ("table inet t {\n\tcounter c {\n\t}\n}\n", 2),
    (
        "table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t10.0.0.x }\n\t}\n}\n",
        5,
    ),
    ("table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags constant\n\t}\n}\n", 4),
    ("table inet t {\n\tmap m {\n\t\ttype ipv4_addr : mark\n\t}\n}\n", 3),
    ("table inet t {\n\tchain f {\n\t\ttype filter hook output priority filter; policy accept;\n\t}\n}\n", 3),
    ("table inet t {\n\tchain f {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n", 3),
    ("table inet t {\n}\ntable inet u {\n}\n", 3),
]


@pytest.mark.parametrize(("text", "line"), WRONG_TABLES)
def test_other_objects_are_errors_with_their_line(text: str, line: int) -> None:
    with pytest.raises(ReadError) as caught:
        read(text)

    assert caught.value.line == line


def test_an_error_crosses_to_another_process_whole() -> None:
    error = ReadError("a word was expected", 3, 14, "classes")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - what this very test wrote

    assert (str(again), again.reason, again.line, again.column, again.chain) == (
        "3:14: a word was expected",
        "a word was expected",
        3,
        14,
        "classes",
    )


def test_the_first_define_of_a_name_holds() -> None:
    text = 'define pods = { "eth9" }\ndefine pods = { "cni0" }\n' + _of_rule("iifname $pods drop")

    (rule,) = read(text).chain("c").rules

    assert rule_text(rule) == 'iifname "eth9" drop'


def test_a_strangers_rule_is_kept_as_it_is_listed_when_asked_for() -> None:
    text = _of_rule("udp sport 5 drop\n\t\tcounter\n\t\tip saddr { 10.0.0.0/8, 11.0.0.1 } return\n\t\tdrop")

    rules = read(text, strangers=Strangers.KEEP).chain("c").rules

    assert [rule_text(rule) for rule in rules] == [
        "udp sport 5 drop",
        "counter",
        "ip saddr { 10.0.0.0/8, 11.0.0.1 } return",
        "drop",
    ]
    assert [isinstance(rule.expressions[0], Unreadable) for rule in rules] == [True, False, True, False]


def test_what_rules_remembered_is_not_part_of_the_table() -> None:
    text = """table inet t {
	set seen {
		type ipv4_addr . inet_proto
		size 10
		flags dynamic,timeout
		timeout 1m5s
		elements = { 10.0.0.1 . icmp expires 3s }
	}
}
"""

    (one,) = read(text).sets

    assert one.elements == frozenset()
    assert one.declaration.timeout == 65


@pytest.mark.parametrize("strangers", Strangers)
def test_a_listing_that_is_cut_off_is_an_error_wherever_it_ends(strangers: Strangers) -> None:
    whole = _of_rule('tcp dport { 80, 443 } log prefix "theirs" return')
    for end in range(len(whole) - len("\n")):
        with pytest.raises(ReadError):
            read(whole[:end], strangers=strangers)
