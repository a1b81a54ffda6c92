"""A kernel that lists a set without all its elements for a while is neither mended nor believed."""

from dataclasses import replace
from ipaddress import ip_address
from itertools import count
from typing import Final

import pytest

from compilers.model.words import Family
from compilers.nftables.table import NamedSet, Table
from compilers.nftables.transaction import DeleteElements, NftRejectedError, Rejection, Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.names import family_name
from policy_controller.enforcer.tests.states import ONE, OUT, PEERS, TWO, WEB, WEB_ISOLATED, pod, rule_set
from policy_controller.enforcer.tests.test_enforcement import BASE, Refusing, node
from policy_controller.wire.messages import Ack, Nack

MANY: Final = " ".join(f"10.3.{number // 200}.{number % 200} fd03::{number:x}" for number in range(1000))
LARGE: Final = rule_set([pod("web", ONE, WEB), pod("client", TWO)], [WEB], peers=MANY)
SMALL: Final = rule_set([pod("web", ONE, WEB, OUT), pod("client", TWO)], [WEB, OUT])


class Lagging(Refusing):
    """Lists large sets with every second element only, another half each time, for a number of listings."""

    def __init__(self) -> None:
        super().__init__()
        self.incomplete = 0
        """How many of the next listings are."""
        self.refused = "never"
        """What a transaction is refused for."""
        self.incomplete_after: dict[int, int] = {}
        """How many listings are incomplete after so many such refusals."""
        self.runs: list[Transaction] = []
        self._refusals = count(1)

    def run(self, transaction: Transaction) -> None:
        self.runs.append(transaction)
        if self.refused in transaction.text():
            self.incomplete = self.incomplete_after.get(next(self._refusals), self.incomplete)
            raise NftRejectedError(Rejection.INVALID, "it is so")
        super().run(transaction)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        table = super().list_table(family, name)
        if table is None or family is not TableFamily.INET or not self.incomplete:
            return table
        self.incomplete -= 1
        return replace(table, sets=tuple(self._half(one) for one in table.sets))

    def _half(self, one: NamedSet) -> NamedSet:
        if len(one.elements) <= 100:
            return one
        return replace(one, elements=frozenset(sorted(one.elements, key=str)[self.incomplete % 2 :: 2]))


@pytest.mark.parametrize("listings", [1, 2, 5])
async def test_a_large_set_that_is_listed_incompletely_after_a_snapshot_is_listed_again(
    listings: int,
) -> None:
    nft = Lagging()
    async with node(nft) as one:
        nft.incomplete = listings
        assert isinstance(await one.snapshot(1, LARGE), Ack)
        assert one.holds(LARGE)
        assert nft.incomplete == 0
        assert one.counted("differences_total 0.0")
        assert not any("delete element" in run.text() for run in nft.runs)


async def test_elements_that_are_missing_indeed_are_mended() -> None:
    nft = Lagging()
    taken = DeleteElements(BASE.inet.identity, family_name(PEERS, Family.IPV4), (ip_address("10.0.0.2"),))
    async with node(nft) as one:
        nft.strangers = iter((Transaction((taken,)),))
        assert isinstance(await one.snapshot(1, WEB_ISOLATED), Ack)
        assert one.holds(WEB_ISOLATED)
        assert one.counted("differences_total 1.0")


@pytest.mark.parametrize("listings", [1, 2, 3])
async def test_a_roll_back_leaves_nothing_that_an_incomplete_listing_hid(listings: int) -> None:
    nft = Lagging()
    async with node(nft) as one:
        assert isinstance(await one.snapshot(1, SMALL), Ack)
        # The large set has grown by then; the second refusal ends the attempt and what was before is restored.
        nft.refused, nft.incomplete_after = "delete chain", {2: listings}
        assert isinstance(await one.snapshot(2, LARGE), Nack)
        assert nft.incomplete == 0
        assert one.holds_untold(SMALL)
        assert one.enforcement.trouble is None


async def test_tables_that_are_other_at_each_listing_are_not_planned_from() -> None:
    nft = Lagging()
    async with node(nft) as one:
        assert isinstance(await one.snapshot(1, SMALL), Ack)
        nft.refused, nft.incomplete_after = "delete chain", {1: 10_000}
        answer = await one.snapshot(2, LARGE)
        assert isinstance(answer, Nack)
        assert answer.reason == "the tables are other each time they are listed"
        nft.refused, nft.incomplete = "never", 0
        assert isinstance(await one.snapshot(3, SMALL), Ack)
        assert one.holds(SMALL)
