"""The fake accepts and refuses what the kernel does: one table of cases, run against both."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from compilers.nftables.expressions import (
    ACCEPT,
    DROP,
    RETURN,
    Expression,
    Match,
    Range,
    SetReference,
    Verdict,
    VerdictMap,
    goto,
    jump,
)
from compilers.nftables.table import MapDeclaration, Rule, SetDeclaration, SetKind, TableName
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    MapElement,
    Nft,
    NftRejectedError,
    Rejection,
    Transaction,
)
from compilers.nftables.words import Field, Hook, KeyType, TableFamily
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.tests.nft_both import kernel_nft, outcome

T = TableName(TableFamily.INET, "t")
GONE = TableName(TableFamily.INET, "gone")
ONE, TWO, THREE = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
IP4, IP6, PROTOCOL, SERVICE = KeyType.IPV4, KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE
S, S6 = SetDeclaration("s", (IP4,)), SetDeclaration("s", (IP6,))
INTERVALS = SetDeclaration("b", (IP4,), SetKind.INTERVAL)
CONCATENATED = SetDeclaration("n", (IP4, PROTOCOL, SERVICE))
MAP = MapDeclaration("m", (IP4,))

SETUP: tuple[Command, ...] = (
    AddTable(T),
    AddSet(T, S),
    AddSet(T, INTERVALS),
    AddSet(T, CONCATENATED),
    AddMap(T, MAP),
    AddChain(T, "x"),
    AddChain(T, "y"),
    AddChain(T, "f", Hook.FORWARD),
)


def rule(chain: str, *expressions: Expression) -> AddRule:
    return AddRule(T, chain, Rule(expressions))


def on_set(name: str, *fields: Field) -> Match:
    return Match(fields or (Field.IP_SOURCE,), SetReference(name))


def lead(key: IPv4Address, verdict: Verdict, name: str = "m") -> AddElements:
    return AddElements(T, name, (MapElement(key, verdict),))


def block(first: str, last: str) -> Range:
    return Range(IPv4Address(first), IPv4Address(last))


EIGHT, SIXTEEN = block("10.0.0.0", "10.255.255.255"), block("10.0.0.0", "10.0.255.255")
JUMP, LOOKUP = rule("x", jump("y")), rule("x", on_set("s"), DROP)
HAS_ONE, HAS_EIGHT = AddElements(T, "s", (ONE,)), AddElements(T, "b", (EIGHT,))
LEADS = lead(ONE, jump("x"))
VMAP = rule("f", VerdictMap((Field.IP_SOURCE,), "m"))
FIFTEEN = tuple(
    command
    for number in range(15, 0, -1)
    for command in (
        AddChain(T, f"c{number}"),
        *((rule(f"c{number}", jump(f"c{number + 1}")),) if number < 15 else ()),
    )
)

MISSING, EXISTS, BUSY, INVALID = Rejection.MISSING, Rejection.EXISTS, Rejection.BUSY, Rejection.INVALID
Case = tuple[str, tuple[Command, ...], tuple[Command, ...], Rejection | None]
"""What it proves, what is there before, the transaction, why it is refused (None: it holds)."""

CASES: tuple[Case, ...] = (
    ("a chain that a rule jumps to is busy", (JUMP,), (DeleteChain(T, "y"),), BUSY),
    ("its rule can go first", (JUMP,), (FlushChain(T, "x"), DeleteChain(T, "y")), None),
    ("a chain goes with its own rules", (JUMP,), (DeleteChain(T, "x"), DeleteChain(T, "y")), None),
    ("a chain that jumps to itself is busy", (rule("x", jump("x")),), (DeleteChain(T, "x"),), BUSY),
    ("a chain that an element leads to is busy", (LEADS,), (DeleteChain(T, "x"),), BUSY),
    ("its element can go first", (LEADS,), (DeleteElements(T, "m", (ONE,)), DeleteChain(T, "x")), None),
    ("its map can go first", (LEADS,), (DeleteSet(T, "m"), DeleteChain(T, "x")), None),
    ("a chain can go and come back", (), (DeleteChain(T, "x"), AddChain(T, "x")), None),
    ("a base chain can go", (), (DeleteChain(T, "f"),), None),
    ("a jump needs its chain", (), (rule("x", jump("gone")),), MISSING),
    ("a jump needs its chain before it", (), (rule("x", jump("later")), AddChain(T, "later")), MISSING),
    ("a chain can be jumped to at once", (), (AddChain(T, "new"), rule("f", jump("new"))), None),
    ("a base chain cannot be jumped to", (), (rule("x", jump("f")),), INVALID),
    ("an element cannot lead to a base chain", (), (lead(ONE, jump("f")),), INVALID),
    ("an element needs its chain", (), (lead(ONE, goto("gone")),), MISSING),
    ("a new chain can be led to at once", (), (AddChain(T, "new"), lead(ONE, jump("new"))), None),
    ("a deleted chain cannot be jumped to", (), (DeleteChain(T, "y"), rule("x", jump("y"))), MISSING),
    ("a rule needs its chain", (), (rule("gone", DROP),), MISSING),
    ("a flush needs its chain", (), (FlushChain(T, "gone"),), MISSING),
    ("a flush needs its set", (), (FlushSet(T, "gone"),), MISSING),
    (
        "what was flushed may be added again and is not there to be deleted",
        (AddElements(T, "s", (ONE, TWO)), FlushSet(T, "s"), AddElements(T, "s", (ONE,))),
        (DeleteElements(T, "s", (TWO,)),),
        MISSING,
    ),
    ("an empty set can be flushed, and while a rule looks into it", (LOOKUP,), (FlushSet(T, "s"),), None),
    ("a map is no set to flush", (lead(ONE, jump("y")),), (FlushSet(T, "m"),), MISSING),
    ("a chain that is not there cannot go", (), (DeleteChain(T, "gone"),), MISSING),
    ("a chain can be added again", (JUMP,), (AddChain(T, "x"), AddChain(T, "f"), AddChain(T, "f", Hook.FORWARD)), None),
    ("a chain cannot become a base chain", (), (AddChain(T, "x", Hook.INPUT),), INVALID),
    ("a base chain keeps its hook", (), (AddChain(T, "f", Hook.INPUT),), INVALID),
    ("a loop below a base chain is refused", (rule("f", jump("x")), JUMP), (rule("y", jump("x")),), INVALID),
    ("a loop through a map is refused", (VMAP, LEADS), (rule("x", VerdictMap((Field.IP_SOURCE,), "m")),), INVALID),
    ("a loop that nobody reaches is accepted", (JUMP,), (rule("y", jump("x")),), None),
    ("fifteen chains deep is accepted", FIFTEEN, (rule("f", jump("c1")),), None),
    ("sixteen chains deep is refused", FIFTEEN, (rule("x", jump("c1")), rule("f", jump("x"))), INVALID),
    ("a rule needs its set", (), (rule("x", on_set("gone"), DROP),), MISSING),
    ("a vmap needs its map", (), (rule("x", VerdictMap((Field.IP_SOURCE,), "gone")),), MISSING),
    ("a vmap looks into maps only", (), (rule("x", VerdictMap((Field.IP_SOURCE,), "s")),), INVALID),
    ("types of field and set agree", (), (rule("x", on_set("s", Field.IP6_SOURCE), DROP),), INVALID),
    ("a concatenation needs all its parts", (), (rule("x", on_set("n", Field.IP_SOURCE, Field.PROTOCOL), DROP),), INVALID),
    ("a set that a rule looks into is busy", (LOOKUP,), (DeleteSet(T, "s"),), BUSY),
    ("the rule can go first", (LOOKUP,), (FlushChain(T, "x"), DeleteSet(T, "s")), None),
    ("a map that a rule looks into is busy", (VMAP,), (DeleteSet(T, "m"),), BUSY),
    ("a set goes with its elements", (HAS_ONE,), (DeleteSet(T, "s"),), None),
    ("a set that is not there cannot go", (), (DeleteSet(T, "gone"),), MISSING),
    ("a set can be added again", (HAS_ONE,), (AddSet(T, S), AddMap(T, MAP)), None),
    ("a set keeps its type", (), (AddSet(T, S6),), EXISTS),
    ("a set keeps its kind", (), (AddSet(T, SetDeclaration("s", (IP4,), SetKind.INTERVAL)),), EXISTS),
    ("its size changes to the later one", (), (AddSet(T, SetDeclaration("s", (IP4,), size=5)),), None),
    ("and stays when none is given", (AddSet(T, SetDeclaration("s", (IP4,), size=5)),), (AddSet(T, S),), None),
    ("a set does not become a map", (), (AddMap(T, MapDeclaration("s", (IP4,))),), EXISTS),
    ("a map does not become a set", (), (AddSet(T, SetDeclaration("m", (IP4,))),), EXISTS),
    ("a set can go and come back with another type", (), (DeleteSet(T, "s"), AddSet(T, S6)), None),
    ("a deleted set cannot be looked into", (), (DeleteSet(T, "s"), LOOKUP), MISSING),
    ("an element can be added again", (HAS_ONE,), (HAS_ONE, HAS_ONE), None),
    ("an element needs its set", (), (AddElements(T, "gone", (ONE,)),), MISSING),
    ("an element has the type of its set", (), (AddElements(T, "s", (IPv6Address("fd00::1"),)),), INVALID),
    ("an element has all its parts", (), (AddElements(T, "n", ((ONE, 6),)),), INVALID),
    ("a protocol is one byte", (), (AddElements(T, "n", ((ONE, 300, 80),)),), INVALID),
    ("a triple is an element", (), (AddElements(T, "n", ((ONE, 6, 80), (ONE, 132, 65535))),), None),
    ("a set takes no verdicts", (), (lead(ONE, DROP, "s"),), INVALID),
    ("a map takes verdicts only", (), (AddElements(T, "m", (ONE,)),), INVALID),
    ("a missing element cannot go", (), (DeleteElements(T, "s", (ONE,)),), MISSING),
    ("a missing key cannot go", (), (DeleteElements(T, "m", (ONE,)),), MISSING),
    ("an element goes once", (HAS_ONE,), (DeleteElements(T, "s", (ONE, ONE)),), MISSING),
    ("an element can come and go", (), (HAS_ONE, DeleteElements(T, "s", (ONE,))), None),
    ("an element can go, come and go", (HAS_ONE,), (DeleteElements(T, "s", (ONE,)), HAS_ONE, DeleteElements(T, "s", (ONE,))), None),
    ("a key can be added again", (LEADS,), (LEADS,), None),
    ("a key that leads elsewhere exists", (LEADS,), (lead(ONE, jump("y")),), EXISTS),
    ("a key with another verdict exists", (LEADS,), (lead(ONE, ACCEPT),), EXISTS),
    ("a key can be led elsewhere by deleting it", (LEADS,), (DeleteElements(T, "m", (ONE,)), lead(ONE, jump("y"))), None),
    ("two verdicts for one key", (), (AddElements(T, "m", (MapElement(ONE, DROP), MapElement(ONE, RETURN))),), EXISTS),
    ("a range can be added again", (HAS_EIGHT,), (HAS_EIGHT,), None),
    ("a range within another exists", (HAS_EIGHT,), (AddElements(T, "b", (block("10.1.0.0", "10.1.0.9"),)),), EXISTS),
    ("a range with the same start exists", (HAS_EIGHT,), (AddElements(T, "b", (SIXTEEN,)),), EXISTS),
    ("a range around another exists", (HAS_EIGHT,), (AddElements(T, "b", (block("0.0.0.0", "255.255.255.255"),)),), EXISTS),
    ("neighbouring ranges are two", (HAS_EIGHT,), (AddElements(T, "b", (block("11.0.0.0", "11.0.0.9"),)),), None),
    ("overlapping ranges of one command", (), (AddElements(T, "b", (EIGHT, SIXTEEN)),), EXISTS),
    ("a part of a range cannot go", (HAS_EIGHT,), (DeleteElements(T, "b", (SIXTEEN,)),), MISSING),
    ("a range can be replaced", (HAS_EIGHT,), (DeleteElements(T, "b", (EIGHT,)), AddElements(T, "b", (SIXTEEN,))), None),
    ("a full set is full", (AddSet(T, SetDeclaration("z", (IP4,), size=2)),), (AddElements(T, "z", (ONE, TWO, THREE)),), Rejection.FULL),
    ("a missing table cannot go", (), (DeleteTable(GONE),), MISSING),
    ("a chain needs its table", (), (AddChain(GONE, "x"),), MISSING),
    ("a set needs its table", (), (AddSet(GONE, S),), MISSING),
    ("a rule needs its table", (), (AddRule(GONE, "x", Rule((DROP,))),), MISSING),
    ("a table goes with all it holds", (JUMP, LOOKUP, VMAP, LEADS), (DeleteTable(T),), None),
    ("a table can go and come back", (JUMP,), (DeleteTable(T), AddTable(T)), None),
    ("a deleted table holds nothing", (), (DeleteTable(T), rule("x", DROP)), MISSING),
    ("a table can be added again", (JUMP,), (AddTable(T),), None),
    ("nothing is a transaction", (), (), None),
)  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> Iterator[Nft]:
    with kernel_nft() as nft:
        yield nft


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kernel)])
def nft(request: pytest.FixtureRequest) -> Nft:
    if request.param == "fake":
        return FakeNft()
    kernel: Nft = request.getfixturevalue("kernel")
    kernel.run(Transaction((AddTable(T), DeleteTable(T))))
    return kernel


@pytest.mark.parametrize(
    ("before", "commands", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_transaction_holds_or_is_refused_and_changes_nothing(
    nft: Nft, before: tuple[Command, ...], commands: tuple[Command, ...], reason: Rejection | None
) -> None:
    nft.run(Transaction((*SETUP, *before)))
    was = nft.list_table(T.family, T.name)

    checked = None
    try:
        nft.check(Transaction(commands))
    except NftRejectedError as error:
        checked = error
    assert nft.list_table(T.family, T.name) == was
    refused = outcome(nft, Transaction(commands))

    assert (refused.reason if refused else None) is reason
    assert (checked.reason if checked else None) is reason
    if refused is not None:
        assert nft.list_table(T.family, T.name) == was


@pytest.mark.parametrize(
    ("before", "commands"),
    [case[1:3] for case in CASES if case[3] is None],
    ids=[case[0] for case in CASES if case[3] is None],
)
@pytest.mark.kernel
def test_what_holds_leaves_the_same_table(
    kernel: Nft, before: tuple[Command, ...], commands: tuple[Command, ...]
) -> None:
    fake = FakeNft()
    for nft in (fake, kernel):
        nft.run(Transaction((AddTable(T), DeleteTable(T))))
        nft.run(Transaction((*SETUP, *before)))
        nft.run(Transaction(commands))

    assert fake.list_table(T.family, T.name) == kernel.list_table(T.family, T.name)


def test_a_rejection_names_the_command(nft: Nft) -> None:
    nft.run(Transaction(SETUP))
    wrong = rule("x", jump("gone"))

    refused = outcome(nft, Transaction((AddChain(T, "new"), wrong, AddChain(T, "newer"))))

    assert refused is not None
    assert (refused.index, refused.command) == (1, wrong.text())
    assert "jump gone" in str(refused)


def test_there_is_no_table_before_one_is_added(nft: Nft) -> None:
    assert nft.list_table(GONE.family, GONE.name) is None
