"""Random transactions have the same outcome in the fake and in the kernel."""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.nftables.expressions import (
    ACCEPT,
    DROP,
    RETURN,
    Expression,
    Match,
    Range,
    SetReference,
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
    Transaction,
)
from compilers.nftables.words import Field, Hook, KeyType, TableFamily
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.tests.nft_both import kernel_nft, outcome

T = TableName(TableFamily.INET, "at-random")
PLAIN, MAP = SetDeclaration("s", (KeyType.IPV4,)), MapDeclaration("m", (KeyType.IPV4,))
BLOCKS = SetDeclaration("b", (KeyType.IPV4,), SetKind.INTERVAL)
names = st.sampled_from(["v", "w", "x"])
addresses = st.sampled_from([IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")])
verdicts = st.one_of(st.sampled_from([ACCEPT, DROP, RETURN]), names.map(jump), names.map(goto))
expressions: st.SearchStrategy[Expression] = st.one_of(
    verdicts,
    st.just(VerdictMap((Field.IP_SOURCE,), "m")),
    st.sampled_from(["s", "b"]).map(lambda name: Match((Field.IP_SOURCE,), SetReference(name))),
)
# Block sets are filled once, by one command: their elements never change (design: immutable, named by content).
commands: st.SearchStrategy[Command] = st.one_of(
    names.map(lambda name: AddChain(T, name)),
    names.map(lambda name: DeleteChain(T, name)),
    names.map(lambda name: FlushChain(T, name)),
    st.just(FlushSet(T, "s")),
    st.builds(AddRule, st.just(T), st.one_of(names, st.just("f")), expressions.map(lambda one: Rule((one,)))),
    st.sampled_from([AddSet(T, PLAIN), AddMap(T, MAP), AddSet(T, BLOCKS), AddChain(T, "f", Hook.FORWARD)]),
    st.sampled_from(["s", "m", "b"]).map(lambda name: DeleteSet(T, name)),
    addresses.map(lambda one: AddElements(T, "s", (one,))),
    addresses.map(lambda one: DeleteElements(T, "s", (one,))),
    st.builds(lambda key, verdict: AddElements(T, "m", (MapElement(key, verdict),)), addresses, verdicts),
    addresses.map(lambda one: DeleteElements(T, "m", (one,))),
)
FILLED: tuple[Command, ...] = (
    AddTable(T),
    DeleteTable(T),
    AddTable(T),
    AddSet(T, PLAIN),
    AddMap(T, MAP),
    AddSet(T, BLOCKS),
    AddElements(T, "b", (Range(IPv4Address("10.0.0.0"), IPv4Address("10.0.255.255")),)),
    AddChain(T, "v"),
    AddChain(T, "w"),
    AddChain(T, "f", Hook.FORWARD),
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Nft]:
    with kernel_nft() as nft:
        yield nft


@pytest.mark.kernel
@given(st.lists(st.lists(commands, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_random_transactions_end_alike_in_the_fake_and_in_the_kernel(
    kernel: Nft, transactions: list[list[Command]]
) -> None:
    fake = FakeNft()
    for nft in (fake, kernel):
        nft.run(Transaction(FILLED))

    for one in transactions:
        transaction = Transaction(tuple(one))
        of_fake, of_kernel = outcome(fake, transaction), outcome(kernel, transaction)

        assert (of_fake is None) is (of_kernel is None), (str(of_fake), str(of_kernel))
        if of_fake is not None and of_kernel is not None and len(one) == 1:
            assert of_fake.reason is of_kernel.reason
        assert fake.list_table(T.family, T.name) == kernel.list_table(T.family, T.name)
