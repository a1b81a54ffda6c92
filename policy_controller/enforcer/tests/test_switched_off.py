"""Enforcement switched off on a node: nobody is gated, nothing closes, and nothing that goes on is ended."""

from dataclasses import replace

import pytest

from compilers.model.settings import Enforcement
from compilers.nftables.render import render_empty
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.presence import LOOK_SECONDS
from policy_controller.enforcer.session import Generation
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    SWITCHED_OFF,
    WEB_ISOLATED,
    WEB_WAITING,
    rule_set,
)
from policy_controller.enforcer.tests.test_connections import connection
from policy_controller.enforcer.tests.test_departed import LINK, OF_WEB, RUNNING, WEB_LEFT, gates, left
from policy_controller.enforcer.tests.test_enforcement import BASE, Refusing, keeping_gates, node
from policy_controller.enforcer.tests.test_restoring import STANDS, Picky, forget, kernel_with, saved, started
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.messages import Ack, Hello, InForce

LEFT_AND_OFF = replace(rule_set(WEB_LEFT.pods.values()), enforcement=Enforcement.OFF)


def bare(nft: Refusing | Picky) -> bool:
    """Whether the tables hold the base and the addresses of pods, and nothing that stops a packet."""
    tables, empty = nft.tables(), render_empty(BASE)
    return (tables.inet.chains, tables.inet.maps, tables.bridge) == (
        empty.inet.chains,
        empty.inet.maps,
        empty.bridge,
    )


async def test_off_opens_everything_and_enforced_closes_it_again() -> None:
    async with node() as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        assert one.counted('enforcement{state="enforced"} 1.0')
        assert await one.delta(2, WEB_ISOLATED, SWITCHED_OFF) == Ack(2, digest_of(SWITCHED_OFF))
        assert bare(one.nft)
        assert one.counted('enforcement{state="off"} 1.0')
        assert one.counted('enforcement{state="enforced"} 0.0')
        assert await one.delta(3, SWITCHED_OFF, WEB_ISOLATED) == Ack(3, digest_of(WEB_ISOLATED))
        assert one.holds(WEB_ISOLATED)


@pytest.mark.parametrize("before", [WEB_ISOLATED, WEB_WAITING, NOBODY_ISOLATED])
async def test_nothing_closes_while_off_whoever_comes_and_whoever_is_away(before: RuleSet) -> None:
    residence = FakeResidence()
    async with node(residence=residence) as one, keeping_gates(one):
        await one.snapshot(1, before)
        off = replace(
            rule_set([replace(held, ingress=None, egress=None) for held in before.pods.values()]),
            enforcement=Enforcement.OFF,
        )
        await one.delta(2, before, off)
        one.enforcement.end_stream()
        residence.bare = frozenset({LINK})
        one.enforcement.note_links()
        await one.clock.advance(LOOK_SECONDS)
        await until(lambda: one.session.knowledge is Knowledge.STALE)
        assert bare(one.nft)


async def test_gates_of_departed_pods_go_and_their_connections_go_on() -> None:
    held = frozenset({connection("10.0.0.1", "9.9.9.9")})
    connections = FakeConnections()
    async with node(connections=connections, residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await left(one)
        assert gates(one) == OF_WEB
        connections.held = held
        await one.delta(3, WEB_LEFT, LEFT_AND_OFF)
        await one.clock.advance(2 * LOOK_SECONDS)
        assert bare(one.nft)
        assert connections.held == held
        assert one.counted("departed_addresses 0.0")


async def test_a_pod_that_leaves_as_it_is_switched_off_has_no_gates() -> None:
    async with node(residence=FakeResidence(RUNNING)) as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        await one.delta(2, WEB_ISOLATED, LEFT_AND_OFF)
        await one.clock.advance(2 * LOOK_SECONDS)
        assert bare(one.nft)


async def test_a_node_that_was_off_is_so_again_after_it_was_restarted_and_until_it_hears_otherwise() -> None:
    nft = await kernel_with(SWITCHED_OFF)
    forget(nft)
    async with started(nft, saved(SWITCHED_OFF)) as one:
        assert bare(one.nft)
        assert one.session.knowledge is Knowledge.STALE
        hello = one.enforcement.begin_stream()
        assert hello == Hello(WEB_ISOLATED.node, InForce(5, digest_of(SWITCHED_OFF), STANDS))
        assert isinstance(await one.hear(1, STANDS, WEB_ISOLATED), Ack)
        assert not bare(one.nft)


async def test_an_enforcer_that_starts_anew_finds_its_node_off() -> None:
    nft = await kernel_with(SWITCHED_OFF)
    async with started(nft, saved(SWITCHED_OFF)) as one:
        assert bare(one.nft)


async def test_tables_that_isolate_are_later_than_a_file_that_says_off() -> None:
    nft = await kernel_with(WEB_ISOLATED)
    async with started(nft, saved(SWITCHED_OFF)) as one:
        assert not bare(one.nft)
        assert one.session.in_force is None


async def test_a_replica_that_has_not_heard_of_the_switch_does_not_switch_back() -> None:
    file = Generation(5, replace(STANDS, settings=20), digest_of(WEB_ISOLATED), WEB_ISOLATED)
    async with started(await kernel_with(WEB_ISOLATED), file) as one:
        one.enforcement.begin_stream()
        assert not isinstance(await one.hear(1, replace(STANDS, settings=10), SWITCHED_OFF), Ack)
        assert isinstance(await one.hear(2, replace(STANDS, settings=20), WEB_ISOLATED), Ack)
        assert isinstance(await one.hear(3, replace(STANDS, settings=21), SWITCHED_OFF), Ack)
        assert bare(one.nft)
