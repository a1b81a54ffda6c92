"""When connections end: after the switch, once for each address, and again where it failed."""

import asyncio
from ipaddress import ip_address
from threading import Event
from typing import Final

import pytest

from compilers.model.words import Address
from compilers.nftables.render import render, render_empty
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.endings import WALK_PAUSE
from policy_controller.enforcer.found import ended_since, has_pods
from policy_controller.enforcer.tests.operator_double import DEADLINE, until
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    ONE,
    TWO,
    WEB,
    WEB_8080,
    WEB_CHANGED,
    WEB_ISOLATED,
    WEB_SUCCEEDED,
    WEB_WAITING,
    pod,
    rule_set,
)
from policy_controller.enforcer.tests.test_enforcement import BASE, Node, Refusing, keeping_gates, node
from policy_controller.testing.fake_connections import FakeConnection, FakeConnections
from policy_controller.wire.messages import Ack, Nack


def addresses(texts: str) -> frozenset[Address]:
    return frozenset(map(ip_address, texts.split()))


def connection(source: str, destination: str) -> FakeConnection:
    ends = ip_address(source), ip_address(destination)
    return FakeConnection(ends, (ends[1], ends[0]))


OF_WEB: Final = connection("10.0.0.2", "10.0.0.1")
OF_WEB6: Final = connection("fd00::1", "fd00::2")
OF_PEER: Final = connection("10.0.0.2", "10.9.9.9")
OTHERS: Final = connection("10.0.0.2", "10.0.0.3")
PEER: Final = frozenset({ip_address("10.9.9.9")})


def held() -> FakeConnections:
    return FakeConnections({OF_WEB, OF_WEB6, OF_PEER, OTHERS})


async def test_connections_of_addresses_that_changed_hands_end_and_others_go_on() -> None:
    async with node(connections=held()) as one:
        await one.snapshot(1, WEB_ISOLATED)
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_SUCCEEDED, addresses(ONE)), Ack)
        assert one.connections.held == {OF_PEER, OTHERS}
        # Nothing else changes on the node: the address is of a pod that no set of its names.
        assert isinstance(await one.delta(3, WEB_SUCCEEDED, WEB_SUCCEEDED, PEER), Ack)
        assert one.connections.held == {OTHERS}
        assert one.counted("connections_ended_total 3.0")


class Walks(FakeConnections):
    """Notes what each walk over the connections looks for."""

    def __init__(self) -> None:
        super().__init__(held().held)
        self.sought: list[frozenset[Address]] = []
        self.go = Event()

    def end(self, addresses: frozenset[Address]) -> int:
        self.sought.append(addresses)
        self.go.wait(DEADLINE)
        return super().end(addresses)


async def walk_for(seconds: float, one: Node, walks: Walks) -> None:
    """End the connections of ONE in a walk that takes so long."""
    await one.snapshot(1, WEB_ISOLATED)
    first = asyncio.create_task(one.delta(2, WEB_ISOLATED, WEB_SUCCEEDED, addresses(ONE)))
    await until(lambda: walks.sought)
    await one.clock.advance(seconds)
    walks.go.set()
    assert isinstance(await first, Ack)


async def test_endings_soon_after_a_long_walk_share_one_walk() -> None:
    walks, strangers = Walks(), [frozenset({ip_address(f"10.7.0.{last}")}) for last in range(20)]
    async with node(connections=walks) as one:
        await walk_for(0.05, one, walks)
        for generation, ended in enumerate((*strangers, PEER), start=3):
            assert isinstance(await one.delta(generation, WEB_SUCCEEDED, WEB_SUCCEEDED, ended), Ack)
        assert walks.held == {OF_PEER, OTHERS}
        async with keeping_gates(one):
            await one.clock.advance(WALK_PAUSE * 0.05)
            await until(lambda: walks.held == {OTHERS})
        assert walks.sought == [addresses(ONE), PEER.union(*strangers)]


async def test_an_enforcer_that_ends_does_not_leave_endings_behind() -> None:
    walks = Walks()
    async with node(connections=walks) as one:
        await walk_for(0.05, one, walks)
        await one.delta(3, WEB_SUCCEEDED, WEB_SUCCEEDED, PEER)
        assert one.connections.held == {OF_PEER, OTHERS}
        await one.enforcement.finish()
        assert one.connections.held == {OTHERS}


async def test_a_tightened_policy_ends_no_connection() -> None:
    async with node(connections=held()) as one:
        await one.snapshot(1, NOBODY_ISOLATED)
        await one.delta(2, NOBODY_ISOLATED, WEB_ISOLATED)
        await one.snapshot(3, WEB_ISOLATED)
        assert one.connections.held == held().held


class Watched(FakeConnections):
    """Notes what the kernel enforces when connections are ended."""

    def __init__(self, nft: Refusing) -> None:
        super().__init__({OF_WEB})
        self._nft = nft
        self.enforced: list[bool] = []

    def end(self, addresses: frozenset[Address]) -> int:
        self.enforced.append(self._nft.tables() == render(WEB_SUCCEEDED, BASE))
        return super().end(addresses)


async def test_connections_end_when_the_new_rules_are_in_force_and_not_with_those_that_are_refused() -> None:
    nft = Refusing()
    async with node(nft, connections=Watched(nft)) as one:
        await one.snapshot(1, WEB_ISOLATED)
        nft.refusals = 1000
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_SUCCEEDED, addresses(ONE)), Nack)
        nft.refusals = 0
        assert one.connections.held == {OF_WEB}
        assert isinstance(await one.snapshot(3, WEB_SUCCEEDED), Ack)
        assert one.connections.held == frozenset()
        assert isinstance(one.connections, Watched)
        assert one.connections.enforced == [True]


async def test_a_failure_to_end_connections_is_told_and_tried_again_and_does_not_keep_an_ack_back() -> None:
    async with node(connections=held()) as one, keeping_gates(one):
        await one.snapshot(1, WEB_ISOLATED)
        one.connections.refusals = 3
        assert isinstance(await one.delta(2, WEB_ISOLATED, WEB_SUCCEEDED, addresses(ONE)), Ack)
        assert one.enforcement.lingering is not None
        assert "connections of 2 addresses" in str(one.enforcement.lingering)
        # The next generation tells of others; what is owed is not forgotten.
        await one.delta(3, WEB_SUCCEEDED, WEB_CHANGED, PEER)
        while one.enforcement.lingering is not None:
            await asyncio.sleep(0.001)
            await one.clock.advance(1)
        assert one.connections.held == {OTHERS}
        assert one.counted("connections_lingered_total 3.0")
        assert one.counted("connections_ended_total 3.0")


async def test_an_enforcer_that_starts_anew_ends_connections_of_pods_that_the_tables_name_no_more() -> None:
    nft, connections = Refusing(), held()
    async with node(nft, connections=connections) as before:
        await before.snapshot(1, WEB_ISOLATED)
    async with node(nft, connections=connections) as after:
        await after.snapshot(1, WEB_SUCCEEDED)
        assert connections.held == {OF_PEER, OTHERS}


@pytest.mark.parametrize(
    ("found", "now", "expected"),
    [
        pytest.param(WEB_ISOLATED, WEB_ISOLATED, "", id="nothing changed"),
        pytest.param(NOBODY_ISOLATED, WEB_ISOLATED, "", id="a policy came"),
        pytest.param(WEB_ISOLATED, NOBODY_ISOLATED, "", id="a policy went"),
        pytest.param(
            WEB_ISOLATED,
            rule_set([pod("web", ONE, WEB_8080), pod("client", TWO)], [WEB_8080]),
            "",
            id="class",
        ),
        pytest.param(WEB_ISOLATED, WEB_SUCCEEDED, ONE, id="another isolated pod has them"),
        pytest.param(WEB_ISOLATED, WEB_WAITING, ONE, id="the pod has lost them"),
        pytest.param(
            WEB_ISOLATED, rule_set([pod("web", ONE, WEB)], [WEB]), TWO, id="a pod without gates went"
        ),
    ],
)
def test_found_tables_tell_which_addresses_of_the_node_ended(
    found: RuleSet, now: RuleSet, expected: str
) -> None:
    tables = render(found, BASE)
    assert has_pods(tables)
    assert not has_pods(render_empty(BASE))
    assert ended_since(tables, render(now, BASE)) == addresses(expected)
    assert ended_since(render_empty(BASE), tables) == frozenset()
