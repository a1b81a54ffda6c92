"""What is in force follows what the operator says, the kernel's refusals, and time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice, repeat

import pytest

from compilers.model.words import Address, Direction
from compilers.nftables.expressions import DROP
from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.table import Rule
from compilers.nftables.transaction import AddRule, NftRejectedError, Rejection, Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import NEITHER, Knowledge, UnknownGates, UnknownPods
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import (
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
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Nack,
    NackCause,
    NodeMessage,
    SnapshotMessage,
    Stands,
)

BASE = base()
UNKNOWN = Stands()
INGRESS = frozenset({Direction.INGRESS})


class Refusing(FakeNft):
    """Refuses the next so many runs, with a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0
        self.reason = Rejection.BUSY
        self.strangers: Iterator[Transaction] = iter(())

    def run(self, transaction: Transaction) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NftRejectedError(self.reason, "it is so", 0, transaction.commands[0].text())
        super().run(transaction)
        for transaction_of_another in islice(self.strangers, 1):
            super().run(transaction_of_another)

    def tables(self) -> Tables:
        inet, bridge = (self.list_table(family, BASE.inet.name) for family in TableFamily)
        assert inet is not None
        assert bridge is not None
        return Tables(inet, bridge)


@dataclass
class Node:
    """A node under test."""

    nft: Refusing
    connections: FakeConnections
    residence: FakeResidence
    clock: FakeClock
    session: Session
    metrics: Metrics
    enforcement: Enforcement

    async def snapshot(self, generation: int, rule_set: RuleSet, stands: Stands = UNKNOWN) -> NodeMessage:
        return await self.receive(SnapshotMessage(generation, stands, rule_set))

    async def delta(
        self, generation: int, old: RuleSet, new: RuleSet, ended: frozenset[Address] = frozenset()
    ) -> NodeMessage:
        return await self.receive(
            DeltaMessage(generation - 1, generation, Stands(), digest_of(new), difference(old, new), ended)
        )

    async def receive(self, message: SnapshotMessage | DeltaMessage) -> NodeMessage:
        """Receive, letting the clock pass whatever the enforcement waits for."""
        answer = asyncio.create_task(self.enforcement.receive(encode_operator(message)))
        while not answer.done():
            await asyncio.sleep(0.001)
            if self.clock.sleepers:
                await self.clock.advance(0.05)
        return answer.result()

    def holds(self, rule_set: RuleSet, closed: frozenset[Direction] = NEITHER) -> bool:
        return self.nft.tables() == render(rule_set, BASE, closed)

    def holds_untold(self, rule_set: RuleSet) -> bool:
        """Whether unknown addresses are dropped as they are while nobody says who has them."""
        return self.nft.tables() == untold(rule_set, BASE)

    def counted(self, line: str) -> bool:
        return f"policy_enforcer_{line}\n" in self.metrics.text().decode()


@asynccontextmanager
async def node(
    nft: Refusing | None = None,
    unknown_pods: UnknownPods = UnknownPods.DROP,
    connections: FakeConnections | None = None,
    residence: FakeResidence | None = None,
) -> AsyncIterator[Node]:
    """A node whose enforcer has adopted what the kernel holds and has a stream."""
    nft, clock, session, metrics = nft or Refusing(), FakeClock(), Session(NODE), Metrics()
    connections, residence = connections or FakeConnections(), residence or FakeResidence()
    kernel = Kernel(nft, connections, residence, BASE, clock)
    enforcement = Enforcement(kernel, BASE, session, UnknownGates(unknown_pods, 30), clock, metrics)
    try:
        await enforcement.adopt()
        enforcement.begin_stream()
        yield Node(nft, connections, residence, clock, session, metrics, enforcement)
    finally:
        kernel.close()


@asynccontextmanager
async def keeping_gates(one: Node) -> AsyncIterator[None]:
    task = asyncio.create_task(one.enforcement.keep_gates())
    try:
        await asyncio.sleep(0)
        yield
    finally:
        task.cancel()


async def test_a_snapshot_and_deltas_are_in_force_once_they_are_acked() -> None:
    async with node() as one:
        assert await one.snapshot(1, WEB_ISOLATED) == Ack(1, digest_of(WEB_ISOLATED))
        assert one.holds(WEB_ISOLATED)
        assert await one.delta(2, WEB_ISOLATED, WEB_CHANGED) == Ack(2, digest_of(WEB_CHANGED))
        assert one.holds(WEB_CHANGED)
        assert await one.delta(3, WEB_CHANGED, NOBODY_ISOLATED) == Ack(3, digest_of(NOBODY_ISOLATED))
        assert one.holds(NOBODY_ISOLATED)
        assert one.counted("generation 3.0")
        assert one.counted("pods 2.0")


async def test_a_message_that_is_not_legal_is_nacked_and_the_old_generation_stays() -> None:
    async with node() as one:
        await one.snapshot(1, WEB_ISOLATED)
        message = encode_operator(SnapshotMessage(2, Stands(), WEB_CHANGED))
        message.snapshot.classes[0].rules[0].ClearField("peer")
        answer = await one.enforcement.receive(message)
        assert answer == Nack(
            2,
            NackCause.INVALID,
            "classes[0].rules[0].peer",
            "is missing: one of everyone, peer_set must be said",
            1,
        )
        # The refused message may have told of a pod that is bound to the node.
        assert one.holds_untold(WEB_ISOLATED)
        assert one.counted('nacks_total{cause="invalid"} 1.0')


async def test_older_policy_is_refused() -> None:
    async with node() as one:
        await one.snapshot(1, WEB_ISOLATED, Stands(5, 5, 5))
        answer = await one.snapshot(2, NOBODY_ISOLATED, Stands(6, 6, 4))
        assert isinstance(answer, Nack)
        assert answer.cause is NackCause.OLDER
        assert isinstance(await one.snapshot(3, WEB_CHANGED, Stands(6, 6, 6)), Ack)
        assert one.holds(WEB_CHANGED)


@pytest.mark.parametrize("refusals", [1, 2, 4])
async def test_a_busy_kernel_is_asked_again(refusals: int) -> None:
    async with node() as one:
        await one.snapshot(1, WEB_ISOLATED)
        one.nft.refusals = refusals
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_CHANGED), Ack)
        assert one.holds(WEB_CHANGED)
        assert one.enforcement.trouble is None


async def test_what_the_kernel_refuses_twice_is_nacked_with_the_command_and_the_old_generation_stays() -> (
    None
):
    async with node() as one:
        await one.snapshot(1, WEB_ISOLATED)
        one.nft.refusals, one.nft.reason = 2, Rejection.INVALID
        answer = await one.delta(2, WEB_ISOLATED, WEB_SUCCEEDED)
        assert isinstance(answer, Nack)
        assert (answer.cause, answer.generation_in_force) == (NackCause.KERNEL, 1)
        assert answer.object.startswith("add chain inet policy-controller pi-")
        assert answer.reason == "it is so"
        assert one.holds_untold(WEB_ISOLATED)
        assert one.enforcement.trouble is None
        assert isinstance(await one.snapshot(3, WEB_SUCCEEDED), Ack)
        assert one.holds(WEB_SUCCEEDED)


async def test_a_kernel_that_refuses_everything_is_told_and_mended_when_it_takes_again() -> None:
    async with node() as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        one.nft.refusals = 1000
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_CHANGED), Nack)
        assert one.enforcement.trouble is not None
        assert one.nft.tables() == render(WEB_ISOLATED, BASE)
        one.nft.refusals = 0
        while one.enforcement.trouble is not None:
            await asyncio.sleep(0.001)
            await one.clock.advance(1)
        assert one.holds_untold(WEB_ISOLATED)


async def test_a_kernel_that_refuses_for_days_does_not_end_the_task_that_mends() -> None:
    async with node() as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        one.nft.refusals, one.nft.reason = 2**31, Rejection.INVALID
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_CHANGED), Nack)
        left = one.nft.refusals - 2 * 1100
        while one.nft.refusals > left:
            await asyncio.sleep(0)
            await one.clock.advance(30)
        one.nft.refusals = 0
        while one.enforcement.trouble is not None:
            await asyncio.sleep(0.001)
            await one.clock.advance(30)
        assert one.holds_untold(WEB_ISOLATED)


STRANGER = Transaction((AddRule(BASE.inet.identity, "forward", Rule((DROP,))),))


async def test_what_another_changes_during_a_snapshot_is_read_back_and_mended() -> None:
    async with node() as one:
        one.nft.strangers = iter((STRANGER,))
        assert isinstance(await one.snapshot(1, WEB_ISOLATED), Ack)
        assert one.holds(WEB_ISOLATED)
        assert one.counted("differences_total 1.0")


async def test_a_snapshot_that_another_keeps_changing_is_not_acked() -> None:
    async with node() as one:
        one.nft.strangers = repeat(STRANGER)
        answer = await one.snapshot(1, WEB_ISOLATED)
        assert isinstance(answer, Nack)
        assert (answer.cause, answer.object) == (NackCause.KERNEL, "read back")
        assert "chain forward is other" in answer.reason


async def test_a_node_without_any_generation_stays_open_when_the_stream_is_gone() -> None:
    async with node() as one, keeping_gates(one):
        one.enforcement.end_stream()
        await one.clock.advance(100)
        assert one.session.knowledge is Knowledge.NOTHING
        assert one.nft.tables() == render_empty(BASE)


@pytest.mark.parametrize(
    ("setting", "holds"), [(UnknownPods.DROP, Node.holds_untold), (UnknownPods.ALLOW, Node.holds)]
)
async def test_without_a_stream_unknown_addresses_are_treated_as_the_setting_says(
    setting: UnknownPods, holds: Callable[[Node, RuleSet], bool]
) -> None:
    async with node(unknown_pods=setting) as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        one.enforcement.end_stream()
        await until(lambda: holds(one, WEB_ISOLATED))
        one.enforcement.begin_stream()
        assert isinstance(await one.snapshot(1, WEB_ISOLATED), Ack)
        assert one.holds(WEB_ISOLATED)


async def test_an_adopted_table_with_pods_closes_for_unknown_addresses_until_the_operator_speaks() -> None:
    nft = Refusing()
    async with node(nft) as before:
        await before.snapshot(1, WEB_ISOLATED)
    async with node(nft) as after:
        assert after.holds_untold(WEB_ISOLATED)
        assert isinstance(await after.snapshot(1, WEB_ISOLATED), Ack)
        assert after.holds(WEB_ISOLATED)


async def test_a_waiting_pod_closes_its_direction_until_it_has_an_address() -> None:
    async with node() as one, keeping_gates(one):
        await one.snapshot(1, WEB_WAITING)
        assert one.holds(WEB_WAITING, INGRESS)
        await one.delta(2, WEB_WAITING, WEB_ISOLATED)
        assert one.holds(WEB_ISOLATED)


async def test_a_pod_that_never_gets_an_address_closes_its_direction_no_longer_than_the_limit() -> None:
    async with node() as one, keeping_gates(one):
        await one.snapshot(1, WEB_WAITING)
        await one.clock.advance(29)
        assert one.holds(WEB_WAITING, INGRESS)
        assert one.enforcement.overdue() == ()
        await one.clock.advance(1)
        await until(lambda: one.holds(WEB_WAITING))
        assert one.enforcement.overdue() == ("uid-web",)
        # Another generation with the same pod does not begin its time anew.
        await one.snapshot(2, WEB_WAITING, Stands(1, 1, 1))
        assert one.holds(WEB_WAITING)
