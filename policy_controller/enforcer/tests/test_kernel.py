"""The kernel goes from one whole rule set to the next, in memory and for real."""

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from compilers.nftables.expressions import DROP
from compilers.nftables.packet import Packet, PacketHook
from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.table import Chain, Rule, Table, TableName
from compilers.nftables.trace import Decision, Walker
from compilers.nftables.transaction import (
    AddChain,
    AddRule,
    AddTable,
    DeleteChain,
    DeleteTable,
    FlushChain,
    Nft,
    NftRejectedError,
    Rejection,
    Transaction,
)
from compilers.nftables.words import Hook, TableFamily
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import SystemClock
from policy_controller.enforcer.kernel import Kernel, KernelError
from policy_controller.enforcer.tests.states import (
    ALL,
    NOBODY_ISOLATED,
    ONE,
    THREE,
    TWO,
    WEB_CHANGED,
    WEB_ISOLATED,
    base,
)
from policy_controller.enforcer.tests.there import There
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.namespaces import PrivateNamespace

BASE = base()
INET, BRIDGE = BASE.inet.identity, BASE.bridge.identity
ENDS = f"{ONE} {TWO} {THREE} 192.0.2.1 2001:db8::1".split()
FOREIGN = Table(TableFamily.INET, "foreign", chains=(Chain("forward", Hook.FORWARD, (Rule((DROP,)),)),))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kernel)])
def nft(request: pytest.FixtureRequest) -> Iterator[Nft]:
    if request.param == "fake":
        yield FakeNft()
        return
    with PrivateNamespace() as network:
        yield There(network)


class Counting:
    """Counts what is run, and refuses the run of one number."""

    def __init__(self, nft: Nft, refused: int = 0) -> None:
        self._nft = nft
        self.refused = refused
        self.runs: list[Transaction] = []

    def run(self, transaction: Transaction) -> None:
        self.runs.append(transaction)
        if len(self.runs) == self.refused:
            raise NftRejectedError(
                Rejection.BUSY, "Device or resource busy", 0, transaction.commands[0].text()
            )
        self._nft.run(transaction)

    def check(self, transaction: Transaction) -> None:
        self._nft.check(transaction)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        return self._nft.list_table(family, name)


def held(nft: Nft) -> Tables:
    inet, bridge = (nft.list_table(one.family, one.name) for one in (INET, BRIDGE))
    assert inet is not None
    assert bridge is not None
    return Tables(inet, bridge)


def add_foreign(nft: Nft) -> None:
    table = FOREIGN.identity
    (chain,) = FOREIGN.chains
    nft.run(
        Transaction(
            (
                AddTable(table),
                AddChain(table, chain.name, chain.hook),
                *(AddRule(table, chain.name, rule) for rule in chain.rules),
            )
        )
    )


@pytest.fixture
def kernels() -> Iterator[Callable[[Nft], Kernel]]:
    made: list[Kernel] = []

    def make(nft: Nft) -> Kernel:
        made.append(Kernel(nft, FakeConnections(), FakeResidence(), BASE, SystemClock()))
        return made[-1]

    yield make
    for kernel in made:
        kernel.close()


Make = Callable[[Nft], Kernel]


async def test_a_new_node_gets_the_base_and_nothing_else(nft: Nft, kernels: Make) -> None:
    kernel = kernels(nft)
    assert await kernel.adopt() == render_empty(BASE) == held(nft)
    assert await kernel.read_back(render_empty(BASE)) == ()


async def test_every_rule_set_follows_every_other(nft: Nft, kernels: Make) -> None:
    kernel = kernels(nft)
    await kernel.adopt()
    for first in ALL:
        for second in ALL:
            for rule_set in (first, second):
                desired = render(rule_set, BASE)
                await kernel.apply(desired)
                assert held(nft) == desired


async def test_applying_what_is_in_force_sends_nothing(nft: Nft, kernels: Make) -> None:
    counting = Counting(nft)
    kernel = kernels(counting)
    await kernel.adopt()
    phases = await kernel.apply(render(WEB_ISOLATED, BASE))
    sent = len(counting.runs)
    assert sum(phase.commands for phase in phases) == sum(len(run.commands) for run in counting.runs[1:])
    assert await kernel.apply(render(WEB_ISOLATED, BASE)) == ()
    assert len(counting.runs) == sent


async def test_a_restart_adopts_the_table_and_sends_nothing(nft: Nft, kernels: Make) -> None:
    before = kernels(nft)
    await before.adopt()
    await before.apply(render(WEB_ISOLATED, BASE))
    before.close()

    counting = Counting(nft)
    after = kernels(counting)
    assert await after.adopt() == render(WEB_ISOLATED, BASE)
    assert await after.apply(render(WEB_ISOLATED, BASE)) == ()
    assert counting.runs == []


async def test_a_restart_goes_from_the_adopted_table_to_the_next(nft: Nft, kernels: Make) -> None:
    before = kernels(nft)
    await before.adopt()
    await before.apply(render(WEB_ISOLATED, BASE))
    after = kernels(nft)
    await after.adopt()
    await after.apply(render(WEB_CHANGED, BASE))
    assert held(nft) == render(WEB_CHANGED, BASE)


async def test_foreign_tables_are_left_alone(nft: Nft, kernels: Make) -> None:
    add_foreign(nft)
    kernel = kernels(nft)
    await kernel.adopt()
    for rule_set in ALL:
        await kernel.apply(render(rule_set, BASE))
    assert nft.list_table(FOREIGN.family, FOREIGN.name) == FOREIGN


PACKETS = tuple(
    Packet(hook, "cni0", "cni0", ip_address(source), ip_address(destination), 6, port)
    for hook in (PacketHook.FORWARD, PacketHook.INPUT)
    for family in (0, 1)
    for source in ENDS[family::2]
    for destination in ENDS[family::2]
    for port in (22, 80, 443, 8080)
)


def accepted(tables: Tables) -> frozenset[Packet]:
    """The packets, of those that two rule sets tell apart, that get through."""
    walker = Walker(tables.each())
    return frozenset(packet for packet in PACKETS if walker.verdict(packet) is Decision.ACCEPT)


@pytest.mark.parametrize(
    ("old", "new"),
    [(WEB_ISOLATED, WEB_CHANGED), (WEB_CHANGED, NOBODY_ISOLATED), (NOBODY_ISOLATED, WEB_ISOLATED)],
)
async def test_a_refusal_in_any_phase_leaves_the_old_or_the_new_policy_and_the_next_apply_mends_it(
    nft: Nft, kernels: Make, old: RuleSet, new: RuleSet
) -> None:
    before, after = render(old, BASE), render(new, BASE)
    assert accepted(before) != accepted(after)
    counting = Counting(nft)
    kernel = kernels(counting)
    await kernel.adopt()
    await kernel.apply(before)
    phases = [phase.name for phase in await kernel.apply(after)]
    assert "switch" in phases
    for number, phase in enumerate(phases, start=1):
        await kernel.apply(before)
        counting.runs, counting.refused = [], number
        with pytest.raises(KernelError) as caught:
            await kernel.apply(after)
        assert caught.value.phase == phase
        assert caught.value.command == counting.runs[-1].commands[0].text()
        match phase:
            case "prepare" | "switch":
                assert accepted(held(nft)) == accepted(before)
            case "admit":
                assert accepted(held(nft)) <= accepted(after)
            case _:
                assert accepted(held(nft)) == accepted(after)
        await kernel.apply(after)
        assert held(nft) == after


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (FlushChain(INET, "forward"), "inet policy-controller: chain forward is other"),
        (AddRule(INET, "input", Rule((DROP,))), "inet policy-controller: chain input is other"),
        (AddChain(INET, "strange"), "inet policy-controller: chain strange is not ours"),
        (FlushChain(BRIDGE, "frames"), "bridge policy-controller: chain frames is other"),
    ],
)
async def test_what_others_changed_is_read_back_and_mended(
    nft: Nft, kernels: Make, harm: FlushChain | AddRule | AddChain, words: str
) -> None:
    kernel = kernels(nft)
    await kernel.adopt()
    desired = render(WEB_ISOLATED, BASE)
    await kernel.apply(desired)
    nft.run(Transaction((harm,)))

    (line,) = await kernel.read_back(desired)
    assert line.startswith(words)
    await kernel.apply(desired)
    assert held(nft) == desired
    assert await kernel.read_back(desired) == ()


@pytest.mark.parametrize("lost", [(INET,), (BRIDGE,), (INET, BRIDGE)])
async def test_a_table_that_others_deleted_is_established_again(
    nft: Nft, kernels: Make, lost: tuple[TableName, ...]
) -> None:
    kernel = kernels(nft)
    await kernel.adopt()
    await kernel.apply(render(WEB_ISOLATED, BASE))
    nft.run(Transaction(tuple(map(DeleteTable, lost))))
    lines = await kernel.read_back(render(WEB_ISOLATED, BASE))
    assert {line.partition(":")[0] for line in lines} == {str(one) for one in lost}
    await kernel.apply(render(WEB_CHANGED, BASE))
    assert held(nft) == render(WEB_CHANGED, BASE)


async def test_an_apply_that_finds_the_kernel_other_than_it_knew_fails_once(nft: Nft, kernels: Make) -> None:
    kernel = kernels(nft)
    await kernel.adopt()
    await kernel.apply(render(WEB_ISOLATED, BASE))
    nft.run(Transaction((DeleteTable(INET),)))
    with pytest.raises(KernelError) as caught:
        await kernel.apply(render(WEB_CHANGED, BASE))
    assert caught.value.reason is Rejection.MISSING
    await kernel.apply(render(WEB_CHANGED, BASE))
    assert held(nft) == render(WEB_CHANGED, BASE)


async def test_adopting_renews_what_is_missing_of_the_base_and_keeps_the_rest(
    nft: Nft, kernels: Make
) -> None:
    before = kernels(nft)
    await before.adopt()
    desired = render(WEB_ISOLATED, BASE)
    await before.apply(desired)
    nft.run(
        Transaction(
            (FlushChain(INET, "forward"), FlushChain(INET, "input"), DeleteChain(INET, "pod-to-node"))
        )
    )
    assert await kernels(nft).adopt() == desired == held(nft)


async def test_calls_are_carried_out_in_their_order_and_the_loop_goes_on_meanwhile(kernels: Make) -> None:
    kernel = kernels(FakeNft())
    states = [kernel.adopt(), *(kernel.apply(render(one, BASE)) for one in ALL)]
    await asyncio.gather(*states)
    assert await kernel.read_back(render(ALL[-1], BASE)) == ()
    assert kernel.busy_seconds() == 0
