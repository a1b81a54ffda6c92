"""Names and parts: what identifies a thing, and what a rule set refuses to hold."""

import re
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import InvalidField, ObjectRef
from compilers.model.words import Direction, Family, Protocol
from compilers.ruleset.names import NAME, NameKind, content_name, family_name, pod_chain_name
from compilers.ruleset.parts import (
    BlockSet,
    ClassRule,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortSet,
    PortSpan,
    RuleRef,
)
from compilers.ruleset.rule_set import RuleSet

ORIGIN = RuleRef("shop", "db", 0)
POLICY = ObjectRef("NetworkPolicy", "shop", "db")
MISSING = content_name(NameKind.PEER_SET, ("missing",))
SOME_CLASS = PolicyClass(Direction.INGRESS, (POLICY,), ())


@given(st.lists(st.text()), st.sampled_from(NameKind))
def test_a_name_is_legal_whatever_it_is_made_of(parts: list[str], kind: NameKind) -> None:
    name = content_name(kind, parts)
    assert re.fullmatch(r"[a-z]+-[0-9a-f]{32}", name)
    assert re.fullmatch(r"[a-z]+[46]-[0-9a-f]{32}", family_name(name, Family.IPV6))


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_different_parts_have_different_names(first: list[str], second: list[str]) -> None:
    same = content_name(NameKind.PEER_SET, first) == content_name(NameKind.PEER_SET, second)
    assert same is (first == second)


def test_the_same_parts_have_different_names_as_different_kinds() -> None:
    assert len({content_name(kind, ("a",)) for kind in NameKind}) == len(NameKind)


def test_a_pod_has_a_chain_of_its_own_for_each_gate() -> None:
    names = {pod_chain_name(uid, direction) for uid in ("1", "2") for direction in Direction}
    assert len(names) == 4


def test_a_class_is_named_by_direction_policies_and_rules() -> None:
    rule = ClassRule(None, PortSpan(Protocol.TCP, 80, 80), ORIGIN)
    variants = [
        PolicyClass(Direction.INGRESS, (POLICY,), (rule,)),
        PolicyClass(Direction.EGRESS, (POLICY,), (rule,)),
        PolicyClass(Direction.INGRESS, (ObjectRef("NetworkPolicy", "shop", "web"),), (rule,)),
        PolicyClass(Direction.INGRESS, (POLICY,), ()),
        PolicyClass(Direction.INGRESS, (POLICY,), (ClassRule(None, PortSpan(Protocol.UDP, 80, 80), ORIGIN),)),
        PolicyClass(
            Direction.INGRESS, (POLICY,), (ClassRule(MISSING, PortSpan(Protocol.TCP, 80, 80), ORIGIN),)
        ),
        PolicyClass(Direction.INGRESS, (POLICY,), (ClassRule(None, None, ORIGIN),)),
        PolicyClass(Direction.INGRESS, (POLICY,), (ClassRule(None, PortSpan(Protocol.TCP), ORIGIN),)),
    ]
    assert len({one.name for one in variants}) == len(variants)
    assert all(NAME.fullmatch(one.name) for one in variants)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: PeerSet('x" ; add rule inet t c accept ; #'), "not a name"),
        (lambda: PeerSet(content_name(NameKind.PORT_SET, ())), "not a name"),
        (lambda: PeerSet("p-0123\n"), "not a name"),
        (
            lambda: PortSet(
                content_name(NameKind.PORT_SET, ()), frozenset({(IPv4Address("10.0.0.1"), Protocol.TCP, 0)})
            ),
            "not a port",
        ),
        (lambda: BlockSet(Family.IPV4, ((0, 1 << 32),)), "not a range of IPv4"),
        (lambda: BlockSet(Family.IPV4, ((5, 4),)), "not a range of IPv4"),
        (lambda: BlockSet(Family.IPV4, ((1, 5), (6, 9))), "touch"),
        (lambda: BlockSet(Family.IPV4, ((10, 12), (1, 2))), "out of order"),
        (lambda: PortSpan(Protocol.TCP, 90, 80), "not a range of ports"),
        (lambda: PortSpan(Protocol.TCP, 0, 65536), "not a range of ports"),
        (lambda: ClassRule("p-x", None, ORIGIN), "not a name"),
        (lambda: ClassRule(None, MISSING, ORIGIN), "not a name"),
        (lambda: PolicyClass(Direction.INGRESS, (), ()), "without a policy"),
        (lambda: PodEntry("", "shop", "web"), "must not be empty"),
        (lambda: LegendEntry("shop", "web", ""), "must not be empty"),
        (lambda: PodEntry("1", "shop", "web", egress=SOME_CLASS.name), "not a name"),
        (lambda: RuleSet.of("a", pods=[PodEntry("1", "s", "w", ingress=SOME_CLASS.name)]), "not there"),
        (
            lambda: RuleSet.of(
                "a", classes=[PolicyClass(Direction.INGRESS, (POLICY,), (ClassRule(MISSING, None, ORIGIN),))]
            ),
            "not there",
        ),
        (
            lambda: RuleSet.of(
                "a", pods=[PodEntry(uid, "s", uid, (IPv4Address("10.0.0.1"),)) for uid in ("1", "2")]
            ),
            "also belongs to pod 1",
        ),
        (lambda: RuleSet.of("a", pods=[PodEntry("1", "s", "w"), PodEntry("1", "s", "x")]), "comes twice"),
    ],
)
def test_what_does_not_hold_together_cannot_be_made(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(InvalidField, match=reason):
        make()


def test_a_pod_without_address_waits_in_the_directions_that_isolate_it() -> None:
    waiting = PodEntry("1", "shop", "web", ingress=SOME_CLASS.name)
    settled = PodEntry("2", "shop", "db", (IPv4Address("10.0.0.1"),), ingress=SOME_CLASS.name)
    free = PodEntry("3", "shop", "cache")

    rule_set = RuleSet.of("node-a", classes=[SOME_CLASS], pods=[waiting, settled, free])

    assert rule_set.waiting(Direction.INGRESS) == (waiting,)
    assert rule_set.waiting(Direction.EGRESS) == ()
    assert rule_set.isolates
    assert not RuleSet.of("node-a", pods=[free]).isolates
