"""Values that nft would refuse, rewrite or misread cannot be constructed."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest

from compilers.nftables.expressions import (
    DROP,
    AddToSet,
    AnonymousSet,
    Comparison,
    Counter,
    Limit,
    Log,
    Match,
    Range,
    Reset,
    SetReference,
    States,
    Unreadable,
    Verdict,
    VerdictKind,
    VerdictMap,
    jump,
)
from compilers.nftables.table import (
    Chain,
    MapDeclaration,
    NamedMap,
    NamedSet,
    Rule,
    SetDeclaration,
    SetKind,
    Table,
    TableName,
)
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddRule,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    FlushChain,
    FlushSet,
)
from compilers.nftables.words import ConntrackState, Field, InvalidNftError, KeyType, TableFamily

T = TableName(TableFamily.INET, "t")
ONE, TWO, SIX = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv6Address("fd00::1")
IP4 = (KeyType.IPV4,)
PLAIN, BLOCKS = SetDeclaration("s", IP4), SetDeclaration("s", IP4, SetKind.INTERVAL)
SOURCE, PORT, PROTOCOL = (Field.IP_SOURCE,), (Field.TCP_PORT,), (Field.PROTOCOL,)
CALLED_PORT = (Field.ORIGINAL_PORT,)
NEW = States(frozenset({ConntrackState.NEW}))

# Strings that would be syntax if they were ever spliced into nft text, and others that are no names.
HOSTILE = ["", "1a", "-a", "a b", "a;flush ruleset", "a\nb", "a{", "a}", '"a"', "$a", "@a", "a:b", "a/b", "é", "a" * 256, "drop", "ip6"]  # fmt: skip
NAMED: list[Callable[[str], object]] = [
    lambda name: TableName(TableFamily.INET, name),
    lambda name: Table(TableFamily.INET, name),
    lambda name: Chain(name, None),
    lambda name: SetDeclaration(name, IP4),
    lambda name: MapDeclaration(name, IP4),
    SetReference,
    lambda name: VerdictMap(SOURCE, name),
    lambda name: AddToSet(name, SOURCE),
    jump,
    lambda name: AddChain(T, name),
    lambda name: FlushChain(T, name),
    lambda name: FlushSet(T, name),
    lambda name: DeleteChain(T, name),
    lambda name: DeleteSet(T, name),
    lambda name: AddElements(T, name, (ONE,)),
    lambda name: DeleteElements(T, name, (ONE,)),
    lambda name: AddRule(T, name, Rule((DROP,))),
]


@pytest.mark.parametrize("make", NAMED)
def test_only_checked_names_become_text(make: Callable[[str], object]) -> None:
    make("a" * 255)
    make("p4-0a1b.c_D")

    for name in HOSTILE:
        with pytest.raises(InvalidNftError):
            make(name)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Match(SOURCE, SIX), "ipv4_addr"),
    (lambda: Match(SOURCE, 80), "ipv4_addr"),
    (lambda: Match(PORT, 65536), "outside"),
    (lambda: Match(PORT, -1), "outside"),
    (lambda: Match(PORT, True), "inet_service"),
    (lambda: Match(PROTOCOL, 256), "outside"),
    (lambda: Match(PORT, Range(80, 80)), "differ"),
    (lambda: Match(PROTOCOL, Range(6, 17)), "addresses or ports"),
    (lambda: Match(SOURCE, ip_network("10.0.0.1/32")), "alone"),
    (lambda: Match(SOURCE, IPv6Network("fe80::/10")), "ipv4_addr"),
    (lambda: Match(PORT, AnonymousSet((80, 70000))), "outside"),
    (lambda: Match((Field.IN_INTERFACE,), 'a" accept'), "A-Za-z"),
    (lambda: Match((Field.SOURCE_KIND,), "blackhole"), "fib_addrtype"),
    (lambda: Match((Field.CONNTRACK_STATE,), NEW, Comparison.NOT_EQUAL), "without !="),
    (lambda: Match(PORT, NEW), "ct state"),
    (lambda: Match((), SetReference("s")), "field"),
    (lambda: Match((Field.IP_SOURCE, Field.TCP_PORT), ONE), "named set"),
    (lambda: VerdictMap((), "m"), "field"),
    (lambda: AddToSet("s", ()), "field"),
    (lambda: States(frozenset()), "at least one"),
    (lambda: AnonymousSet((80,)), "two"),
    (lambda: AnonymousSet((80, 80)), "two"),
    (lambda: AnonymousSet(("cali*", "cali1")), "two"),
    (lambda: AnonymousSet((80, "x")), "different types"),
    (lambda: Range(TWO, ONE), "before"),
    (lambda: Range(ONE, SIX), "different types"),
    (lambda: Verdict(VerdictKind.JUMP), "name a chain"),
    (lambda: Verdict(VerdictKind.DROP, "a"), "name a chain"),
    (lambda: Limit(0), "positive"),
    (lambda: Limit(1, burst=2**32), "positive"),
    (lambda: Log('E" accept', 1, 1), "A-Za-z"),
    (lambda: Log("E", 65536, 1), "16-bit"),
    (lambda: Log("E", 1, 0), "positive"),
    (lambda: Rule(()), "empty"),
    (lambda: Rule((DROP, Counter())), "follow"),
    (lambda: Rule((Match(SOURCE, ONE), Match((Field.IP6_SOURCE,), SIX))), "ip6"),
    (lambda: Rule((Match((Field.ICMPV6_TYPE,), 1), Match(SOURCE, ONE))), "ip6"),
    (lambda: Rule((Match(PROTOCOL, 6), Match(PORT, 80))), "leaves out"),
    (lambda: Rule((Match((Field.ANY_PORT,), 80), Match(PROTOCOL, 6))), "leaves out"),
    (lambda: Rule((Match(PORT, 80), Match((Field.UDP_PORT,), 80))), "two transport"),
    (lambda: Rule((Match(PORT, 80), Match(PORT, 81))), "twice"),
    (lambda: Rule((Match(CALLED_PORT, 80),)), "after one protocol"),
    (lambda: Rule((Match(CALLED_PORT, 80), Match(PROTOCOL, 6))), "after one protocol"),
    (lambda: Rule((Match(PROTOCOL, 1), Match(CALLED_PORT, 80))), "after one protocol"),
    (lambda: Rule((Match(PROTOCOL, 6, Comparison.NOT_EQUAL), Match(CALLED_PORT, 80))), "after one protocol"),
    (lambda: Match(CALLED_PORT, AnonymousSet((80, 81))), "without its types"),
    (lambda: Match((Field.TCP_FLAGS,), "syn", Comparison.NOT_EQUAL), "without !="),
    (lambda: Match((Field.TCP_FLAGS,), "urg"), "not a known tcp_flag"),
    (lambda: Rule((Match((Field.TCP_FLAGS,), "syn"), Match((Field.UDP_PORT,), 80))), "two transport"),
    (lambda: Rule((Reset(),)), "before a reset"),
    (lambda: Rule((Match(PROTOCOL, 17), Reset())), "before a reset"),
    (lambda: Rule((Match(PROTOCOL, 6), Reset(), DROP)), "follow"),
    (lambda: Match((Field.ORIGINAL_IP_DESTINATION, *CALLED_PORT), SetReference("s")), "by itself"),
    (lambda: Rule((Match((Field.ORIGINAL_IP_DESTINATION,), ONE), Match((Field.IP6_SOURCE,), SIX))), "ip6"),
    (lambda: SetDeclaration("s", ()), "made of"),
    (lambda: SetDeclaration("s", (KeyType.INTERFACE,)), "made of"),
    (lambda: SetDeclaration("s", (KeyType.SERVICE,), SetKind.INTERVAL), "ranges of addresses"),
    (lambda: SetDeclaration("s", IP4, timeout=5), "timeout"),
    (lambda: SetDeclaration("s", IP4, SetKind.REMEMBERING, timeout=5), "needs size"),
    (lambda: SetDeclaration("s", IP4, size=0), "positive"),
    (lambda: MapDeclaration("m", (KeyType.ETHER,)), "made of"),
    (lambda: NamedSet(PLAIN, frozenset({SIX})), "ipv4_addr"),
    (lambda: NamedSet(PLAIN, frozenset({Range(ONE, TWO)})), "ipv4_addr"),
    (lambda: NamedSet(PLAIN, frozenset({(ONE,)})), "parts"),
    (lambda: NamedSet(BLOCKS, frozenset({ONE})), "not a Range"),
    (lambda: NamedSet(BLOCKS, frozenset({Range(ONE, TWO), Range(TWO, TWO)})), "overlap"),
    (lambda: NamedSet(SetDeclaration("s", IP4, SetKind.REMEMBERING, 1, 1), frozenset({ONE})), "by rules"),
    (lambda: NamedMap(MapDeclaration("m", IP4), {SIX: DROP}), "ipv4_addr"),
    (
        lambda: Table(TableFamily.INET, "t", (NamedSet(PLAIN),), (NamedMap(MapDeclaration("s", IP4)),)),
        "one name",
    ),
    (lambda: Table(TableFamily.INET, "t", chains=(Chain("c", None), Chain("c", None))), "one name"),
    (lambda: AddRule(T, "c", Rule((Unreadable("masquerade"),))), "cannot be sent"),
    (lambda: AddElements(T, "s", ()), "none"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_what_nft_refuses_or_rewrites_is_no_value(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(InvalidNftError, match=reason):
        make()
