"""What is due to be cut stays due: while rule sets follow each other, while a set is full, and after somebody meddled."""

import asyncio
from typing import Final

import pytest

from compilers.nftables.midstream import remembering
from compilers.nftables.transaction import (
    AddElements,
    DeleteElements,
    NftRejectedError,
    Rejection,
    Transaction,
)
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer import cutting as cutting_module
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import ONE, THREE, WEB, pod, rule_set
from policy_controller.enforcer.tests.test_cutting import (
    ADMITTED,
    CLOSED,
    DENIED,
    LEFT,
    UDP,
    Remembering,
    Watched,
    cutting,
    cutting_node,
)
from policy_controller.enforcer.tests.test_enforcement import Node

WIDE: Final = cutting(rule_set([pod("web", ONE, WEB), pod("client", "")], [WEB], peers=f"10.0.0.2 {THREE}"))
"""Into web also from 10.0.0.3."""
NARROW: Final = cutting(rule_set([pod("web", ONE, WEB), pod("client", "")], [WEB]))


def listing(one: Node) -> Remembering:
    assert isinstance(one.connections, Remembering)
    return one.connections


async def settled(one: Node) -> None:
    """Let whatever waits for the clock go on."""
    for _ in range(10):
        await one.clock.advance(1)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("before", [WIDE, NARROW], ids=["and meets a listing", "and nothing is listed"])
async def test_what_began_under_a_rule_set_between_others_is_cut(before: RuleSet) -> None:
    async with cutting_node() as one:
        listing(one).held = frozenset({ADMITTED})
        await one.snapshot(1, before)
        await until(lambda: len(listing(one).sought) == 1)
        await settled(one)
        listing(one).go.clear()
        await one.delta(2, before, CLOSED)
        await until(lambda: len(listing(one).sought) == 2)
        listing(one).held |= {DENIED}
        await one.delta(3, CLOSED, WIDE)
        await one.delta(4, WIDE, CLOSED)
        listing(one).go.set()
        await settled(one)
        assert listing(one).held == {ADMITTED}


async def test_what_a_later_rule_set_let_go_on_is_cut_once_that_one_is_gone() -> None:
    async with cutting_node() as one:
        listing(one).held = frozenset({ADMITTED, DENIED})
        await one.snapshot(1, WIDE)
        await until(lambda: len(listing(one).sought) == 1)
        await settled(one)
        listing(one).go.clear()
        await one.delta(2, WIDE, NARROW)
        await until(lambda: len(listing(one).sought) == 2)
        await one.delta(3, NARROW, WIDE)
        listing(one).go.set()
        await settled(one)
        assert DENIED in listing(one).held
        await one.delta(4, WIDE, NARROW)
        await settled(one)
        assert listing(one).held == {ADMITTED}


async def test_what_began_while_somebody_had_the_tables_open_is_cut() -> None:
    async with cutting_node() as one:
        listing(one).held = frozenset({ADMITTED})
        await one.snapshot(1, CLOSED)
        await until(lambda: len(listing(one).sought) == 1)
        await settled(one)
        listing(one).held |= {DENIED}
        one.enforcement.cutting.note_mended(())
        await settled(one)
        assert DENIED in listing(one).held
        one.enforcement.cutting.note_mended(("a chain was gone",))
        await settled(one)
        assert listing(one).held == {ADMITTED}


async def test_a_full_set_keeps_no_other_from_being_cut_and_the_node_says_so() -> None:
    class Full(Watched):
        def run(self, transaction: Transaction) -> None:
            for one in transaction.commands:
                if isinstance(one, AddElements) and one.name == "cut4tcp":
                    raise NftRejectedError(Rejection.FULL, "it is full")
            super().run(transaction)

    async with cutting_node(Full()) as one:
        await one.snapshot(1, CLOSED)
        await until(lambda: one.enforcement.lingering)
        assert listing(one).held == LEFT


async def test_more_connections_than_one_look_holds_are_cut_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("policy_controller.enforcer.conntrack.MOST_ENTRIES", 2)
    monkeypatch.setattr(cutting_module, "MOST_ENTRIES", 2)
    async with cutting_node() as one:
        await one.snapshot(1, CLOSED)
        await until(lambda: listing(one).held == LEFT)
        assert len(listing(one).sought) >= 3


def test_what_is_remembered_again_begins_its_time_anew() -> None:
    commands = remembering([UDP.entry.flow]).commands
    assert [type(one) for one in commands] == [AddElements, DeleteElements, AddElements]
