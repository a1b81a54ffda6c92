"""Whatever somebody makes of our tables, one look brings back what they should hold, and the packets' verdicts with it."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.model.words import Family
from compilers.nftables.expressions import ACCEPT, DROP, Counter, jump
from compilers.nftables.render import Tables, render
from compilers.nftables.table import MapDeclaration, Rule, SetDeclaration, TableName
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    MapElement,
    Nft,
    NftRejectedError,
    Rejection,
    Transaction,
    install,
)
from compilers.nftables.words import Hook, KeyType
from compilers.ruleset.names import family_name
from policy_controller.clock import SystemClock
from policy_controller.enforcer.copies import COPY
from policy_controller.enforcer.kernel import Kernel, KernelError, Occasion
from policy_controller.enforcer.tests.states import PEERS, WEB, WEB_ISOLATED, base
from policy_controller.enforcer.tests.there import There
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.namespaces import PrivateNamespace

BASE = base()
INET, BRIDGE = BASE.inet.identity, BASE.bridge.identity
DESIRED = render(WEB_ISOLATED, BASE)
WEB4, STRANGER = ip_address("10.0.0.1"), ip_address("10.0.0.9")
PEERS4 = family_name(PEERS, Family.IPV4)
ACCEPTED = Rule((Counter(), ACCEPT))
OTHER_KEY = SetDeclaration("known4", (KeyType.IPV6,))
(POD_CHAIN,) = {
    verdict.chain
    for one in DESIRED.inet.maps
    for key, verdict in one.elements.items()
    if key == WEB4 and verdict.chain is not None
}
CLASS_CHAIN = WEB.name
GATES = "ingress4"


def without(table: TableName, name: str, *chains: str) -> tuple[Command, ...]:
    """Take a set away, which nothing may refer to any more."""
    return (*(FlushChain(table, chain) for chain in chains), DeleteSet(table, name))


HARM: dict[str, tuple[Command, ...]] = {
    "rules of a base chain deleted": (FlushChain(INET, "forward"),),
    "rules of a pod's chain deleted": (FlushChain(INET, POD_CHAIN),),
    "rules of a class deleted": (FlushChain(INET, CLASS_CHAIN),),
    "a rule that accepts added": (FlushChain(INET, POD_CHAIN), AddRule(INET, POD_CHAIN, ACCEPTED)),
    "a rule that drops added": (AddRule(INET, "input", Rule((DROP,))),),
    "a slot filled": (AddRule(INET, "unknown-egress", ACCEPTED),),
    "a base chain deleted": (FlushChain(INET, "forward"), DeleteChain(INET, "forward")),
    "the frames' door deleted": (FlushChain(BRIDGE, "forward"), DeleteChain(BRIDGE, "forward")),
    "a known address deleted": (DeleteElements(INET, "known4", (WEB4,)),),
    "a peer added": (AddElements(INET, PEERS4, (STRANGER,)),),
    "a gate deleted": (DeleteElements(INET, GATES, (WEB4,)),),
    "a gate led elsewhere": (
        AddChain(INET, "open"),
        AddRule(INET, "open", ACCEPTED),
        DeleteElements(INET, GATES, (WEB4,)),
        AddElements(INET, GATES, (MapElement(WEB4, jump("open")),)),
    ),
    "a map of gates deleted": without(INET, GATES, "forward"),
    "a set declared otherwise": (
        *without(INET, "known4", "from-pod", "to-pod", "pod-to-node"),
        AddSet(INET, OTHER_KEY),
    ),
    "a chain hung on another hook": (
        FlushChain(INET, "forward"),
        DeleteChain(INET, "forward"),
        AddChain(INET, "forward", Hook.INPUT),
    ),
    "a chain and a map added": (
        AddChain(INET, "strange"),
        AddMap(INET, MapDeclaration("strange-map", (KeyType.IPV4,))),
        AddElements(INET, "strange-map", (MapElement(WEB4, jump("strange")),)),
    ),
    "a base chain added": (AddChain(INET, "first", Hook.FORWARD), AddRule(INET, "first", ACCEPTED)),
    "the table of gates deleted": (DeleteTable(INET),),
    "the table of frames deleted": (DeleteTable(BRIDGE),),
    "both tables deleted": (DeleteTable(INET), DeleteTable(BRIDGE)),
}

WORDS = {
    "everything deleted": "flush ruleset",
    "a rule in other words": f"insert rule {INET} {POD_CHAIN} meta mark 7 accept",
    "a table that sleeps": f"add table {INET} {{ flags dormant; }}",
    "an object that we have no words for": f"add counter {INET} strange",
    "a set that we have no words for": f"add set {BRIDGE} strange {{ type ether_addr; }}",
    "a base chain that drops": f"add chain {INET} first {{ type filter hook forward priority -5; policy drop; }}",
    "a base chain with another policy": f"add chain {INET} forward {{ policy drop; }}",
    "a chain that comes later": f"flush chain {INET} forward; delete chain {INET} forward; "
    f"add chain {INET} forward {{ type filter hook forward priority 10; }}",
    "a rule with a comment": f'insert rule {INET} forward accept comment "}} flush ruleset"',
}


Make = Callable[[Nft], Kernel]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kernel)])
def nft(request: pytest.FixtureRequest) -> Iterator[Nft]:
    if request.param == "fake":
        yield FakeNft()
        return
    with PrivateNamespace() as network:
        yield There(network)


@pytest.fixture
def kernels() -> Iterator[Make]:
    made: list[Kernel] = []

    def make(nft: Nft) -> Kernel:
        made.append(Kernel(nft, FakeConnections(), FakeResidence(), BASE, SystemClock()))
        return made[-1]

    yield make
    for kernel in made:
        kernel.close()


def held(nft: Nft) -> Tables:
    inet, bridge = (nft.list_table(one.family, one.name) for one in (INET, BRIDGE))
    assert inet is not None
    assert bridge is not None
    return Tables(inet, bridge)


async def enforcing(kernel: Kernel) -> None:
    await kernel.adopt()
    await kernel.apply(DESIRED)


@pytest.mark.parametrize("occasion", Occasion)
async def test_a_look_at_what_is_as_it_should_be_finds_and_sends_nothing(
    nft: Nft, kernels: Make, occasion: Occasion
) -> None:
    kernel = kernels(nft)
    await enforcing(kernel)
    assert await kernel.mend(DESIRED, occasion) == ()
    assert held(nft) == DESIRED


@pytest.mark.parametrize("harm", HARM)
async def test_what_somebody_changed_is_mended_by_one_look(nft: Nft, kernels: Make, harm: str) -> None:
    await mended(nft, kernels(nft), harm, Occasion.SUSPICION)


@pytest.mark.parametrize("harm", HARM)
async def test_a_routine_look_mends_as_much(kernels: Make, harm: str) -> None:
    nft = FakeNft()
    await mended(nft, kernels(nft), harm, Occasion.ROUTINE)


async def mended(nft: Nft, kernel: Kernel, harm: str, occasion: Occasion) -> None:
    await enforcing(kernel)
    nft.run(Transaction(HARM[harm]))

    assert await kernel.mend(DESIRED, occasion) != ()
    assert held(nft) == DESIRED
    assert await kernel.mend(DESIRED, occasion) == ()


@pytest.mark.kernel
@pytest.mark.parametrize("harm", WORDS)
async def test_what_somebody_wrote_in_words_that_are_not_ours_is_mended_by_one_look(
    kernels: Make, harm: str
) -> None:
    with PrivateNamespace() as network:
        nft = There(network)
        kernel = kernels(nft)
        await enforcing(kernel)
        network.run(lambda: subprocess.run(("nft", WORDS[harm]), check=True))  # noqa: S603, S607 - as an administrator would

        assert await kernel.mend(DESIRED, Occasion.SUSPICION) != ()
        assert held(nft) == DESIRED
        assert await kernel.mend(DESIRED, Occasion.SUSPICION) == ()


class Refusing(FakeNft):
    """Refuses the runs of these numbers, counted from now on."""

    refused: frozenset[int] = frozenset()
    runs = 0

    def refuse(self, *numbers: int) -> None:
        self.runs, self.refused = 0, frozenset(numbers)

    def run(self, transaction: Transaction) -> None:
        self.runs += 1
        if self.runs in self.refused:
            raise NftRejectedError(Rejection.BUSY, "Device or resource busy")
        super().run(transaction)


async def test_where_a_plan_is_refused_the_tables_are_made_anew(kernels: Make) -> None:
    nft = Refusing()
    kernel = kernels(nft)
    await enforcing(kernel)
    nft.run(Transaction(HARM["a gate deleted"]))
    nft.refuse(1)
    assert await kernel.mend(DESIRED, Occasion.SUSPICION) != ()
    assert held(nft) == DESIRED


async def test_what_is_refused_altogether_is_said_and_the_next_apply_reads_first(kernels: Make) -> None:
    nft = Refusing()
    kernel = kernels(nft)
    await enforcing(kernel)
    nft.run(Transaction(HARM["both tables deleted"]))
    nft.refuse(1)
    with pytest.raises(KernelError):
        await kernel.mend(DESIRED, Occasion.SUSPICION)
    await kernel.apply(DESIRED)
    assert held(nft) == DESIRED


async def test_of_the_copy_that_judges_while_a_table_is_replaced_nothing_is_left(
    nft: Nft, kernels: Make
) -> None:
    kernel = kernels(nft)
    await enforcing(kernel)
    nft.run(Transaction(HARM["a set declared otherwise"]))
    await kernel.mend(DESIRED, Occasion.SUSPICION)
    assert [nft.list_table(one.family, COPY) for one in (INET, BRIDGE)] == [None, None]


async def test_a_copy_that_a_killed_enforcer_left_goes_when_the_next_adopts(nft: Nft, kernels: Make) -> None:
    await enforcing(kernels(nft))
    for one in DESIRED.each():
        nft.run(install(replace(one, name=COPY)))
    await kernels(nft).adopt()
    assert [nft.list_table(one.family, COPY) for one in (INET, BRIDGE)] == [None, None]
    assert held(nft) == DESIRED


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_replacement_that_is_refused_is_tried_again_from_whatever_is_there(
    kernels: Make, number: int
) -> None:
    nft = Refusing()
    kernel = kernels(nft)
    await enforcing(kernel)
    nft.run(Transaction(HARM["a set declared otherwise"]))
    nft.refuse(number)
    with pytest.raises(KernelError):
        await kernel.mend(DESIRED, Occasion.SUSPICION)
    await kernel.mend(DESIRED, Occasion.SUSPICION)
    assert held(nft) == DESIRED
    assert [nft.list_table(one.family, COPY) for one in (INET, BRIDGE)] == [None, None]


async def test_tables_that_are_gone_come_back_whole_in_one_transaction(kernels: Make) -> None:
    nft = Refusing()
    kernel = kernels(nft)
    await enforcing(kernel)
    nft.run(Transaction(HARM["both tables deleted"]))
    nft.refuse()
    await kernel.mend(DESIRED, Occasion.SUSPICION)
    assert nft.runs == 1
