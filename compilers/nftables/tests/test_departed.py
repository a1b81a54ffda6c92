"""Gates that stay when a rule set no longer names their pods: what they hold, and what nobody tells of any more."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import pytest
from hypothesis import given

import nft_templates
from compilers.model.faults import ObjectRef
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.nftables import departed
from compilers.nftables.base import BaseSettings, base_tables
from compilers.nftables.departed import departing, known, with_departed
from compilers.nftables.packet import Packet, PacketHook
from compilers.nftables.plan import plan
from compilers.nftables.references import problems
from compilers.nftables.render import Tables, render
from compilers.nftables.trace import Decision, trace
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import BlockSet, ClassRule, PeerSet, PodEntry, PolicyClass, PortSpan, RuleRef
from compilers.ruleset.rule_set import RuleSet
from compilers.ruleset.tests.rule_sets import rule_sets

BASE: Final = base_tables(
    nft_templates.read(nft_templates.INET),
    nft_templates.read(nft_templates.BRIDGE),
    BaseSettings(("cni0",)),
)
WEB, SHARED, ALONE, BLOCK, STRANGER = map(
    ip_address, ("10.0.0.1", "10.0.0.2", "10.0.0.3", "9.0.0.1", "10.0.0.9")
)
SHARED_PEERS, OWN_PEERS = (content_name(NameKind.PEER_SET, (name,)) for name in ("shared", "own"))
BLOCKS: Final = BlockSet(Family.IPV4, ((int(ip_address("9.0.0.0")), int(ip_address("9.255.255.255"))),))
POD, OUTSIDE = "cni0", "eth0"


def closed(direction: Direction, *peers: str) -> PolicyClass:
    """A class that admits these peers to TCP port 80."""
    rules = (
        ClassRule(peer, PortSpan(Protocol.TCP, 80, 80), RuleRef("a", "web", index))
        for index, peer in enumerate(peers)
    )
    return PolicyClass(direction, (ObjectRef("NetworkPolicy", "a", "web"),), tuple(rules))


INTO: Final = closed(Direction.INGRESS, SHARED_PEERS, OWN_PEERS, BLOCKS.name)
OUT: Final = closed(Direction.EGRESS, SHARED_PEERS, OWN_PEERS, BLOCKS.name)
INTO_OTHER: Final = closed(Direction.INGRESS, SHARED_PEERS)
OTHER: Final = PodEntry("other", "a", "other", (ip_address("10.0.0.7"),), INTO_OTHER.name)
BEFORE: Final = RuleSet.of(
    "node-a",
    peer_sets=[PeerSet(SHARED_PEERS, frozenset({SHARED})), PeerSet(OWN_PEERS, frozenset({ALONE}))],
    block_sets=[BLOCKS],
    classes=[INTO, OUT, INTO_OTHER],
    pods=[PodEntry("web", "a", "web", (WEB,), INTO.name, OUT.name), OTHER],
)
AFTER: Final = RuleSet.of(
    "node-a",
    peer_sets=[PeerSet(SHARED_PEERS, frozenset({SHARED}))],
    classes=[INTO_OTHER],
    pods=[OTHER],
)
NOBODY: Final = RuleSet.of("node-a")


def after(told: RuleSet, *, before: RuleSet = BEFORE) -> Tables:
    held, desired = render(before, BASE), render(told, BASE)
    return with_departed(desired, held, departing(held, desired), BASE)


def passes(
    tables: Tables, source: Address, destination: Address, came: str, goes: str, port: int = 80
) -> bool:
    packet = Packet(PacketHook.FORWARD, came, goes, source, destination, 6, port)
    return trace(tables.each(), packet).decision is Decision.ACCEPT


ROWS: Final = [
    pytest.param(STRANGER, 80, False, id="a stranger stays denied"),
    pytest.param(BLOCK, 80, True, id="a block stays admitted"),
    pytest.param(BLOCK, 81, False, id="to the ports it had"),
    pytest.param(SHARED, 80, True, id="a peer of a set that the node is still told of stays admitted"),
    pytest.param(ALONE, 80, False, id="a peer of a set that nobody tells of is admitted no more"),
]


@pytest.mark.parametrize(("peer", "port", "expected"), ROWS)
def test_gates_of_a_departed_pod_stay_in_both_directions(peer: Address, port: int, expected: bool) -> None:
    tables = after(AFTER)
    assert passes(tables, peer, WEB, OUTSIDE, POD, port) is expected
    assert passes(tables, WEB, peer, POD, OUTSIDE, port) is expected


def test_without_them_a_departed_pod_would_be_open() -> None:
    assert passes(render(AFTER, BASE), STRANGER, WEB, OUTSIDE, POD)
    assert passes(render(AFTER, BASE), WEB, STRANGER, POD, OUTSIDE)


def test_packets_of_the_address_that_are_of_no_pod_of_this_node_are_not_judged() -> None:
    """Pod networks with address pools may give the address to a pod of another node."""
    tables = after(AFTER)
    assert passes(tables, WEB, STRANGER, OUTSIDE, POD)
    assert passes(tables, STRANGER, WEB, POD, OUTSIDE)


def test_the_gates_of_another_pod_that_has_the_address_are_its_own() -> None:
    told = RuleSet.of("node-a", pods=[PodEntry("later", "a", "later", (WEB,))])
    assert departing(render(BEFORE, BASE), render(told, BASE)) == frozenset(OTHER.addresses)
    assert passes(after(told), STRANGER, WEB, OUTSIDE, POD)


def test_the_doors_stay_shut_beside_gates_that_stay() -> None:
    held = render(BEFORE, BASE)
    tables = after(NOBODY)
    for slot in ("link-local", "to-many", "tunnel"):
        assert tables.inet.chain(slot) == held.inet.chain(slot)
        assert tables.inet.chain(slot).rules
    assert tables.bridge == held.bridge
    gone = with_departed(render(NOBODY, BASE), tables, frozenset(), BASE)
    assert gone == render(NOBODY, BASE)


def test_a_pod_that_has_other_addresses_now_keeps_the_gates_of_the_old_ones() -> None:
    moved = replace(BEFORE.pods["web"], addresses=(ip_address("10.0.0.5"),))
    told = RuleSet.of(
        "node-a",
        peer_sets=BEFORE.peer_sets.values(),
        block_sets=[BLOCKS],
        classes=BEFORE.classes.values(),
        pods=[moved, OTHER],
    )
    tables = after(told)
    assert not passes(tables, STRANGER, WEB, OUTSIDE, POD)
    assert passes(tables, ALONE, WEB, OUTSIDE, POD)


def test_a_class_for_which_there_is_no_room_admits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_KEPT", 1)
    tables = after(AFTER)
    assert {chain.name for chain in tables.inet.chains}.isdisjoint({INTO.name, OUT.name})
    assert not passes(tables, BLOCK, WEB, OUTSIDE, POD)
    assert not passes(tables, WEB, BLOCK, POD, OUTSIDE)


@given(rule_sets(), rule_sets(), rule_sets())
def test_gates_stay_over_any_rule_sets_until_they_are_let_go(
    one: RuleSet, two: RuleSet, three: RuleSet
) -> None:
    held: Tables = render(one, BASE)
    for told in (two, three):
        desired = render(told, BASE)
        leaving = departing(held, desired)
        tables = with_departed(desired, held, leaving, BASE)
        assert not list(problems(tables.inet))
        assert not leaving & known(tables)
        # What is found tells who had departed, and what is held leads to itself.
        assert departing(tables, tables) == leaving
        assert with_departed(desired, tables, leaving, BASE) == tables
        assert with_departed(desired, tables, frozenset(), BASE) == desired
        assert not any(transaction.commands for _, transaction in plan(tables, tables).each())
        held = tables
