"""A pod that left the API and still runs: its gates stay until it has gone from the node, whoever is asked and restarts."""

import asyncio
from ipaddress import ip_address
from typing import Final

import pytest

from compilers.model.words import Address
from compilers.nftables.departed import departing
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer import departed
from policy_controller.enforcer.departed import NONE, Departed
from policy_controller.enforcer.presence import LOOK_SECONDS
from policy_controller.enforcer.residence import Residents
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import ONE, TWO, WEB_ISOLATED, WEB_SUCCEEDED, pod, rule_set
from policy_controller.enforcer.tests.test_connections import addresses, connection
from policy_controller.enforcer.tests.test_enforcement import Node, Refusing, keeping_gates, node
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.messages import Ack

LINK, LATER_LINK = 7, 8
OF_WEB: Final = addresses(ONE)
WEB_LEFT: Final = rule_set([pod("client", TWO)])
RUNNING: Final = dict.fromkeys(OF_WEB, LINK)


def gates(one: Node) -> frozenset[Address]:
    """Addresses that have gates though the node knows no pod that has them."""
    tables = one.nft.tables()
    return departing(tables, tables)


def gone(one: Node) -> bool:
    return one.holds(WEB_LEFT)


async def left(one: Node) -> None:
    """The operator says that web has left."""
    await one.snapshot(1, WEB_ISOLATED)
    assert await one.delta(2, WEB_ISOLATED, WEB_LEFT, OF_WEB) == Ack(2, digest_of(WEB_LEFT))


async def test_gates_of_a_pod_that_runs_on_stay_and_go_with_it() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        assert gates(one) == OF_WEB
        assert one.counted("departed_addresses 2.0")
        # A snapshot is read back and compared; what stays is as it should be.
        assert isinstance(await one.snapshot(3, WEB_LEFT), Ack)
        assert gates(one) == OF_WEB
        assert one.counted("differences_total 0.0")
        one.residence.held = {}
        await one.clock.advance(LOOK_SECONDS)
        await until(lambda: gone(one))
        assert one.counted("departed_addresses 0.0")


async def test_a_pod_that_stopped_before_it_left_has_no_gates_at_once() -> None:
    async with node() as one:
        await left(one)
        assert gone(one)


async def test_where_it_cannot_be_told_who_is_on_the_node_gates_stay() -> None:
    async with node() as one, keeping_gates(one):
        one.residence.fails = True
        await left(one)
        await one.clock.advance(LOOK_SECONDS)
        await asyncio.sleep(0.01)
        assert gates(one) == OF_WEB
        one.residence.fails = False
        await one.clock.advance(LOOK_SECONDS)
        await until(lambda: gone(one))


async def test_another_pod_that_is_told_to_have_the_address_has_gates_of_its_own() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one:
        await left(one)
        await one.delta(3, WEB_LEFT, WEB_SUCCEEDED)
        assert one.holds(WEB_SUCCEEDED)
        assert one.counted("departed_addresses 0.0")


async def test_gates_do_not_wait_for_a_later_pod_with_the_address() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        one.residence.held = dict.fromkeys(OF_WEB, LATER_LINK)
        await one.clock.advance(LOOK_SECONDS)
        await until(lambda: gone(one))


async def test_what_a_departed_pod_opened_ends_when_its_gates_go() -> None:
    connections = FakeConnections({connection("10.0.0.1", "9.9.9.9")})
    async with node(connections=connections, residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        assert connections.held == frozenset()
        later = frozenset({connection("10.0.0.1", "9.9.9.8"), connection("10.0.0.2", "9.9.9.9")})
        connections.held = later
        one.residence.held = {}
        await one.clock.advance(2 * LOOK_SECONDS)
        await until(lambda: connections.held == {connection("10.0.0.2", "9.9.9.9")})


@pytest.mark.parametrize("told_before", [True, False], ids=["it had left before", "it leaves meanwhile"])
async def test_an_enforcer_that_starts_anew_finds_gates_of_departed_pods_in_the_tables(
    told_before: bool,
) -> None:
    nft, residence = Refusing(), FakeResidence(RUNNING)
    async with node(nft, residence=residence) as before:
        await (left(before) if told_before else before.snapshot(1, WEB_ISOLATED))
    async with node(nft, residence=residence) as after, keeping_gates(after):
        # Nobody has told who the node's pods are: nothing goes.
        await after.clock.advance(2 * LOOK_SECONDS)
        assert gates(after) == (OF_WEB if told_before else frozenset())
        await after.snapshot(1, WEB_LEFT)
        assert gates(after) == OF_WEB
        residence.held = {}
        await after.clock.advance(LOOK_SECONDS)
        await until(lambda: gone(after))


async def test_gates_stay_over_a_stream_that_ends_and_begins() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        one.enforcement.end_stream()
        await until(lambda: one.nft.tables().inet.chain("unknown-egress").rules)
        assert gates(one) == OF_WEB
        one.enforcement.begin_stream()
        await one.snapshot(1, WEB_LEFT)
        assert gates(one) == OF_WEB


async def test_a_kernel_that_refuses_to_let_gates_go_is_asked_again() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        one.residence.held, one.nft.refusals = {}, 20
        while not gone(one):
            await asyncio.sleep(0.001)
            await one.clock.advance(LOOK_SECONDS)
        assert one.enforcement.trouble is None


def addresses_from(first: int, count: int) -> list[Address]:
    return [ip_address(f"10.1.{number // 256}.{number % 256}") for number in range(first, first + count)]


def test_of_too_many_departed_the_longest_departed_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_DEPARTED", 3)
    first, second = addresses_from(0, 2), addresses_from(2, 2)
    held = NONE.after(first, None).after([*first, *second], None)
    assert list(held.links) == [first[1], *second]


def test_an_address_is_followed_by_the_links_by_which_it_was_seen_first() -> None:
    (one,) = addresses_from(0, 1)

    def seen(*links: int) -> Residents:
        return Residents({one: frozenset(links)})

    held = NONE.after([one], seen(1, 2))
    assert held.after([one], seen(2, 3)) == Departed({one: frozenset({2})})
    assert held.after([one], seen(3)) == NONE
    # It could not be told at first: then whoever is seen is taken for it.
    assert NONE.after([one], None).after([one], seen(3)) == Departed({one: frozenset({3})})
