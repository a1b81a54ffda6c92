"""Open connections that a change denies: which are cut, in which order, and again where it failed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from threading import Event
from typing import Final

import pytest

from compilers.model.settings import ExistingConnections
from compilers.model.words import Address
from compilers.nftables.midstream import GATES
from compilers.nftables.transaction import AddElements, FlushSet, Rejection, Transaction
from compilers.ruleset.denial import Flow
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.conntrack import Entry
from policy_controller.enforcer.tests.operator_double import DEADLINE, until
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    ONE,
    THREE,
    WEB,
    WEB_ISOLATED,
    pod,
    rule_set,
)
from policy_controller.enforcer.tests.test_enforcement import Node, Refusing, node
from policy_controller.testing.fake_connections import FakeConnection, FakeConnections
from policy_controller.wire.messages import Ack


def connection(
    source: str, destination: str, port: int = 80, *, by: str = "", protocol: int = 6
) -> FakeConnection:
    """`by`: the address that was called, where a Service stands before the destination."""
    here, there = ip_address(source), ip_address(destination)
    return FakeConnection((here, ip_address(by) if by else there), (there, here), protocol, (40000, port))


def cutting(state: RuleSet) -> RuleSet:
    pods = {uid: replace(one, existing=ExistingConnections.CUT) for uid, one in state.pods.items()}
    return replace(state, pods=pods)


OPEN: Final = NOBODY_ISOLATED
CLOSED: Final = cutting(WEB_ISOLATED)
"""Into web only TCP 80, from 10.0.0.2 and fd00::2."""
ADMITTED: Final = connection("10.0.0.2", "10.0.0.1")
DENIED: Final = connection("10.0.0.3", "10.0.0.1")
OTHER_PORT: Final = connection("10.0.0.2", "10.0.0.1", 81)
UDP: Final = connection("10.0.0.2", "10.0.0.1", protocol=17)
ICMP: Final = connection("10.0.0.2", "10.0.0.1", 0, protocol=1)
BY_SERVICE: Final = connection("10.0.0.3", "10.0.0.1", by="10.96.0.1")
DENIED6: Final = connection("fd00::3", "fd00::1")
OUT: Final = connection("10.0.0.1", "10.0.0.3", 443)
OF_NODE: Final = connection("10.0.0.254", "10.0.0.1")
OTHERS: Final = connection("10.0.0.2", "10.0.0.3")
LEFT: Final = frozenset({ADMITTED, OUT, OF_NODE, OTHERS})
ENDING: Final = frozenset({DENIED, OTHER_PORT, UDP, ICMP, BY_SERVICE, DENIED6})


class Remembering(FakeConnections):
    """Notes what the kernel's sets held of what is being deleted, and waits where a test wants it to."""

    def __init__(self, nft: Refusing) -> None:
        super().__init__(LEFT | ENDING, frozenset({ip_address("10.0.0.254")}))
        self._nft = nft
        self.sets: list[dict[str, int]] = []
        self.sought: list[frozenset[Address]] = []
        self.go = Event()
        self.go.set()

    def of(self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]) -> tuple[Entry, ...]:
        self.sought.append(addresses)
        self.go.wait(DEADLINE)
        return super().of(addresses, wanted)

    def cut(self, entries: Iterable[Entry]) -> int:
        self.sets.append(dict(self.remembered))
        return super().cut(entries)

    @property
    def remembered(self) -> dict[str, int]:
        assert isinstance(self._nft, Watched)
        return self._nft.remembered


class Watched(Refusing):
    """Counts the elements that come into the sets of what is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[str, set[object]] = {}
        self.barriers = self.flushes = 0

    def run(self, transaction: Transaction) -> None:
        if self.refusals and not transaction.commands:
            return
        super().run(transaction)
        self.barriers += not transaction.commands
        for command in transaction.commands:
            if isinstance(command, FlushSet):
                self.flushes += 1
                self.elements.pop(command.name, None)
            if isinstance(command, AddElements) and command.table == GATES and command.name.startswith("cut"):
                self.elements.setdefault(command.name, set()).update(command.elements)

    @property
    def remembered(self) -> dict[str, int]:
        return {name: len(held) for name, held in self.elements.items()}


@asynccontextmanager
async def cutting_node(nft: Watched | None = None) -> AsyncIterator[Node]:
    nft = nft or Watched()
    async with node(nft, connections=Remembering(nft)) as one:
        task = asyncio.create_task(one.enforcement.cutting.run())
        try:
            yield one
        finally:
            assert isinstance(one.connections, Remembering)
            one.connections.go.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def cut(one: Node, state: RuleSet, before: RuleSet = OPEN) -> None:
    await one.snapshot(1, before)
    assert isinstance(await one.delta(2, before, state), Ack)


async def test_connections_that_a_change_denies_are_cut_and_all_others_go_on() -> None:
    async with cutting_node() as one:
        await cut(one, CLOSED)
        await until(lambda: one.connections.held == LEFT)
        assert one.counted("connections_cut_total 6.0")
        assert one.enforcement.lingering is None
        # Ports tell connections apart, where there are any; the others make no entry by an answer.
        assert isinstance(one.connections, Remembering)
        assert one.connections.sets[-1] == {"cut4tcp": 2, "cut6tcp": 1, "cut4": 1}


async def test_the_kernel_takes_no_packet_of_theirs_for_a_first_one_before_they_are_forgotten() -> None:
    async with cutting_node() as one:
        await cut(one, CLOSED)
        await until(lambda: one.connections.held == LEFT)
        assert isinstance(one.nft, Watched)
        assert isinstance(one.connections, Remembering)
        # Before they are listed, whoever was on his way under earlier rules has arrived.
        assert one.nft.barriers == 1
        # Of ICMP nothing is, and each set is filled before what it holds is forgotten.
        assert [sum(held.values()) for held in one.connections.sets] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(WEB_ISOLATED, id="they are kept"),
        pytest.param(cutting(OPEN), id="nobody is isolated"),
    ],
)
async def test_nothing_is_cut_where_nothing_is_to_be(state: RuleSet) -> None:
    async with cutting_node() as one:
        await cut(one, state)
        await one.snapshot(3, state)
        await one.clock.advance(60)
        assert one.connections.held == LEFT | ENDING


async def test_a_peer_that_leaves_ends_its_connections_and_a_change_elsewhere_makes_nobody_look() -> None:
    async with cutting_node() as one:
        assert isinstance(one.connections, Remembering)
        wide = cutting(rule_set([pod("web", ONE, WEB), pod("client", "")], [WEB], peers=f"10.0.0.2 {THREE}"))
        narrow = cutting(rule_set([pod("web", ONE, WEB), pod("client", "")], [WEB]))
        elsewhere = cutting(rule_set([pod("web", ONE, WEB), pod("late", "")], [WEB]))
        one.connections.held = frozenset({ADMITTED, DENIED, DENIED6})
        await cut(one, wide)
        await until(lambda: len(one.connections.sought) == 1)
        await one.delta(3, wide, narrow)
        await until(lambda: one.connections.held == {ADMITTED})
        await one.delta(4, narrow, elsewhere)
        await one.clock.advance(60)
        assert one.connections.sought == [frozenset(map(ip_address, ONE.split()))] * 2


async def test_nothing_is_remembered_of_what_was_cut_once_nobody_is_isolated() -> None:
    async with cutting_node() as one:
        assert isinstance(one.nft, Watched)
        await cut(one, CLOSED)
        await until(lambda: one.connections.held == LEFT)
        assert one.nft.remembered
        await one.delta(3, CLOSED, OPEN)
        await until(lambda: not one.nft.remembered)
        await one.delta(4, OPEN, WEB_ISOLATED)
        await one.delta(5, WEB_ISOLATED, OPEN)
        await one.clock.advance(60)
        # Once after the start, since nobody knows what was cut before; where nothing was, there is nothing to forget.
        assert one.nft.flushes == 2 * 4


async def test_an_enforcer_that_starts_anew_cuts_what_the_one_before_it_did_not() -> None:
    nft = Watched()
    connections = Remembering(nft)
    async with node(nft, connections=connections) as one:
        await one.snapshot(1, OPEN)
        # It is ended before it comes to cut.
        await one.delta(2, OPEN, CLOSED)
        assert connections.held == LEFT | ENDING
    async with node(nft, connections=connections) as later:
        task = asyncio.create_task(later.enforcement.cutting.run())
        await later.snapshot(1, CLOSED)
        await until(lambda: connections.held == LEFT)
        task.cancel()


# Each set is asked for whatever became of the one before.
@pytest.mark.parametrize(("who", "looks"), [("connections", 3), ("rules", 1)])
async def test_a_failure_is_told_and_tried_again_and_keeps_no_ack_back(who: str, looks: int) -> None:
    async with cutting_node() as one:
        await one.snapshot(1, OPEN)
        assert isinstance(one.connections, Remembering)
        one.connections.go.clear()
        await one.delta(2, OPEN, CLOSED)
        if who == "connections":
            one.connections.refusals = 3
        else:
            one.nft.refusals, one.nft.reason = 3, Rejection.OTHER
        one.connections.go.set()
        await until(lambda: one.enforcement.lingering)
        for _ in range(20):
            await one.clock.advance(10)
            await asyncio.sleep(0.005)
        assert one.enforcement.lingering is None
        assert one.connections.held == LEFT
        assert one.counted(f"connections_lingered_total {looks}.0")


async def test_what_a_later_change_admits_again_goes_on() -> None:
    async with cutting_node() as one:
        assert isinstance(one.connections, Remembering)
        one.connections.go.clear()
        await cut(one, CLOSED)
        await until(lambda: one.connections.sought)
        # Acknowledged though nothing has been cut yet.
        assert isinstance(await one.delta(3, CLOSED, OPEN), Ack)
        one.connections.go.set()
        await until(lambda: one.counted("cut_seconds_count 1.0"))
        assert one.connections.held == LEFT | ENDING
