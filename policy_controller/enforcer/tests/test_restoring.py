"""What was saved is in force again where the kernel has forgotten it, never over what the kernel knows, and nothing older comes after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.transaction import (
    DeleteTable,
    NftRejectedError,
    Rejection,
    Transaction,
    install,
)
from compilers.nftables.words import TableFamily
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import Knowledge, UnknownGates, UnknownPods
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Generation, Session
from policy_controller.enforcer.tests.states import (
    ALL,
    NOBODY_ISOLATED,
    NODE,
    WEB_CHANGED,
    WEB_ISOLATED,
    WEB_SUCCEEDED,
    WEB_WAITING,
    base,
    untold,
)
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_connections import FakeConnection, FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import Ack, Hello, InForce, Nack, NackCause, SnapshotMessage, Stands

BASE = base()
STANDS = Stands(10, 10, 10)
EARLIER, LATER = Stands(10, 10, 9), Stands(11, 11, 11)


class Picky(FakeNft):
    """Refuses what tells of pods."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Rejection | None = None
        self.refusals = 1 << 31
        self.commands: list[str] = []

    def run(self, transaction: Transaction) -> None:
        text = transaction.text()
        if self.refuses is not None and self.refusals and "10.0.0." in text:
            self.refusals -= 1
            raise NftRejectedError(self.refuses, "it is so", 0, text.splitlines()[0])
        self.commands += text.splitlines()
        super().run(transaction)

    def tables(self) -> Tables:
        inet, bridge = (self.list_table(family, BASE.inet.name) for family in TableFamily)
        assert inet is not None
        assert bridge is not None
        return Tables(inet, bridge)


def saved(rule_set: RuleSet, stands: Stands = STANDS) -> Generation:
    return Generation(5, stands, digest_of(rule_set), rule_set)


@dataclass
class Node:
    nft: Picky
    connections: FakeConnections
    session: Session
    metrics: Metrics
    enforcement: Enforcement

    async def hear(self, number: int, stands: Stands, rule_set: RuleSet) -> object:
        return await self.enforcement.receive(encode_operator(SnapshotMessage(number, stands, rule_set)))


@asynccontextmanager
async def started(
    nft: Picky, file: Generation | None, unknown_pods: UnknownPods = UnknownPods.DROP
) -> AsyncIterator[Node]:
    """An enforcer that has begun on this kernel with this in its file."""
    clock, session, metrics, connections = RestlessClock(), Session(NODE), Metrics(), FakeConnections()
    kernel = Kernel(nft, connections, FakeResidence(), BASE, clock)
    enforcement = Enforcement(kernel, BASE, session, UnknownGates(unknown_pods, 30), clock, metrics)
    try:
        await enforcement.adopt(file)
        yield Node(nft, connections, session, metrics, enforcement)
    finally:
        kernel.close()


class RestlessClock(FakeClock):
    """Whoever sleeps has slept."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0)


async def kernel_with(rule_set: RuleSet) -> Picky:
    """A kernel as an enforcer leaves it that has put this in force."""
    nft = Picky()
    async with started(nft, None) as before:
        before.enforcement.begin_stream()
        assert isinstance(await before.hear(1, STANDS, rule_set), Ack)
    return nft


def forget(nft: Picky) -> None:
    """As a node that restarts."""
    nft.run(Transaction((DeleteTable(BASE.inet.identity), DeleteTable(BASE.bridge.identity))))


@pytest.mark.parametrize("rule_set", ALL)
async def test_a_kernel_that_has_forgotten_enforces_what_was_saved_as_a_node_does_whose_operator_is_away(
    rule_set: RuleSet,
) -> None:
    nft = await kernel_with(rule_set)
    forget(nft)
    async with started(nft, saved(rule_set)) as node:
        assert nft.tables() == untold(rule_set, BASE)
        assert node.session.knowledge is Knowledge.STALE
        assert node.enforcement.begin_stream() == Hello(NODE, InForce(5, digest_of(rule_set), STANDS))


async def test_an_empty_base_is_no_better_than_none() -> None:
    nft = Picky()
    for table in render_empty(BASE).each():
        nft.run(install(table))
    async with started(nft, saved(WEB_ISOLATED)):
        assert nft.tables() == untold(WEB_ISOLATED, BASE)


async def test_unknown_addresses_are_let_through_where_the_setting_says_so() -> None:
    async with started(Picky(), saved(WEB_ISOLATED), UnknownPods.ALLOW) as node:
        assert node.nft.tables() == render(WEB_ISOLATED, BASE)


async def test_a_node_that_had_no_pods_is_no_node_that_never_had_a_rule_set() -> None:
    async with started(Picky(), saved(RuleSet(NODE))) as node:
        assert node.session.knowledge is Knowledge.STALE
        assert node.nft.tables() == untold(RuleSet(NODE), BASE)


@pytest.mark.parametrize("rule_set", ALL)
async def test_a_kernel_that_holds_what_was_saved_is_sent_nothing_but_what_closes_for_unknown_addresses(
    rule_set: RuleSet,
) -> None:
    nft = await kernel_with(rule_set)
    nft.commands.clear()
    async with started(nft, saved(rule_set)) as node:
        assert all("unknown-" in command for command in nft.commands)
        assert nft.tables() == untold(rule_set, BASE)
        assert node.enforcement.begin_stream() == Hello(NODE, InForce(5, digest_of(rule_set), STANDS))


def lose_bridge(nft: Picky) -> None:
    nft.run(Transaction((DeleteTable(BASE.bridge.identity),)))


async def test_a_door_that_was_opened_beside_what_was_saved_is_shut_again() -> None:
    nft = await kernel_with(WEB_ISOLATED)
    lose_bridge(nft)
    async with started(nft, saved(WEB_ISOLATED)):
        assert nft.tables() == untold(WEB_ISOLATED, BASE)


@pytest.mark.parametrize("file", [NOBODY_ISOLATED, WEB_CHANGED, WEB_WAITING])
async def test_a_kernel_that_holds_something_else_is_later_than_the_file_and_stays(file: RuleSet) -> None:
    nft = await kernel_with(WEB_ISOLATED)
    async with started(nft, saved(file, Stands(8, 8, 8))) as node:
        assert nft.tables() == untold(WEB_ISOLATED, BASE)
        assert node.session.knowledge is Knowledge.STALE
        # The latest that is known: the operator tells what has ended since then. No delta can be based on it.
        assert node.session.in_force is None
        hello = Hello(NODE, InForce(5, digest_of(file), Stands(8, 8, 8)))
        assert node.enforcement.begin_stream() == hello
        assert isinstance(await node.hear(1, STANDS, WEB_CHANGED), Ack)
        assert nft.tables() == render(WEB_CHANGED, BASE)


@pytest.mark.parametrize("kept", [WEB_ISOLATED, WEB_CHANGED, None], ids=["same", "later", "forgotten"])
async def test_an_operator_that_lags_does_not_lead_back_over_a_restart(kept: RuleSet | None) -> None:
    nft = Picky() if kept is None else await kernel_with(kept)
    async with started(nft, saved(WEB_ISOLATED)) as node:
        held = nft.tables()
        node.enforcement.begin_stream()
        answer = await node.hear(1, EARLIER, NOBODY_ISOLATED)
        assert isinstance(answer, Nack)
        assert answer.cause is NackCause.OLDER
        assert nft.tables() == held
        assert node.session.knowledge is Knowledge.STALE
        assert await node.hear(2, LATER, NOBODY_ISOLATED) == Ack(2, digest_of(NOBODY_ISOLATED))
        assert nft.tables() == render(NOBODY_ISOLATED, BASE)


async def test_without_a_file_the_first_word_counts_whatever_it_stands_for() -> None:
    nft = await kernel_with(WEB_ISOLATED)
    async with started(nft, None) as node:
        node.enforcement.begin_stream()
        assert isinstance(await node.hear(1, EARLIER, NOBODY_ISOLATED), Ack)


async def test_a_kernel_that_is_busy_as_a_node_starts_is_asked_for_a_while() -> None:
    nft = Picky()
    nft.refuses, nft.refusals = Rejection.BUSY, 20
    async with started(nft, saved(WEB_ISOLATED)) as node:
        assert nft.refusals == 0
        assert node.enforcement.trouble is None
        assert nft.tables() == untold(WEB_ISOLATED, BASE)


@pytest.mark.parametrize("reason", [Rejection.INVALID, Rejection.BUSY])
async def test_what_the_kernel_does_not_take_again_counts_as_not_there_but_for_what_it_stands_for(
    reason: Rejection,
) -> None:
    nft = Picky()
    nft.refuses = reason
    async with started(nft, saved(WEB_ISOLATED)) as node:
        assert nft.tables() == render_empty(BASE)
        assert node.enforcement.adopted
        assert node.session.knowledge is Knowledge.NOTHING
        assert b'policy_enforcer_saved_refused_total{reason="kernel"} 1.0\n' in node.metrics.text()
        nft.refuses = None
        hello = Hello(NODE, InForce(5, digest_of(WEB_ISOLATED), STANDS))
        assert node.enforcement.begin_stream() == hello
        assert isinstance(await node.hear(1, EARLIER, NOBODY_ISOLATED), Nack)
        assert isinstance(await node.hear(2, LATER, WEB_CHANGED), Ack)


async def test_connections_of_an_address_that_changed_hands_meanwhile_end_with_the_first_word() -> None:
    nft = await kernel_with(WEB_ISOLATED)
    async with started(nft, saved(WEB_ISOLATED)) as node:
        web = WEB_ISOLATED.pods["uid-web"].addresses[0]
        client = WEB_ISOLATED.pods["uid-client"].addresses[0]
        old = FakeConnection((client, web), (web, client))
        node.connections.held = frozenset({old})
        node.enforcement.begin_stream()
        assert isinstance(await node.hear(1, LATER, WEB_SUCCEEDED), Ack)
        assert node.connections.held == frozenset()
