"""Generated rule sets, for tests of what crosses the wire: small, and every shape of every part occurs."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hypothesis import strategies as st

from compilers.model.block import merge
from compilers.model.faults import ObjectRef
from compilers.model.settings import Enforcement, ExistingConnections
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.ruleset.names import NameKind, content_name
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

NODE: Final = "node-1.example"
ADDRESSES: Final[tuple[Address, ...]] = (
    *(IPv4Address(f"10.0.{third}.{last}") for third in (0, 255) for last in (1, 2, 255)),
    *(IPv6Address(f"fd00::{last:x}") for last in (1, 2, 0xFFFF)),
    IPv4Address("255.255.255.255"),
    IPv6Address("::"),
)
addresses = st.sampled_from(ADDRESSES)
words = st.sampled_from(("a", "b", "web-1", "x" * 63))


def names(kind: NameKind) -> st.SearchStrategy[str]:
    return st.sampled_from(("one", "two", "three")).map(lambda part: content_name(kind, (part,)))


@st.composite
def block_sets(draw: st.DrawFn) -> BlockSet:
    family = draw(st.sampled_from(Family))
    last = (1 << family.bits) - 1
    bounds = st.integers(0, last) | st.sampled_from((0, 1, last))
    pairs = draw(st.lists(st.tuples(bounds, bounds), max_size=4))
    return BlockSet(family, merge((min(pair), max(pair)) for pair in pairs))


port_sets = st.builds(
    PortSet,
    names(NameKind.PORT_SET),
    st.frozensets(st.tuples(addresses, st.sampled_from(Protocol), st.integers(1, 65535)), max_size=6),
)
peer_sets = st.builds(PeerSet, names(NameKind.PEER_SET), st.frozensets(addresses, max_size=6))
ports = st.integers(0, 65535)
spans = st.builds(
    lambda protocol, pair: PortSpan(protocol, min(pair), max(pair)),
    st.sampled_from(Protocol),
    st.tuples(ports, ports),
) | st.builds(PortSpan, st.sampled_from(Protocol))


@st.composite
def classes(
    draw: st.DrawFn, direction: Direction, peers: tuple[str, ...], named_ports: tuple[str, ...]
) -> PolicyClass:
    pairs = draw(st.lists(st.tuples(words, words), min_size=1, max_size=3, unique=True))
    policies = tuple(ObjectRef("NetworkPolicy", *pair) for pair in sorted(pairs))
    origins = st.builds(
        lambda policy, index: RuleRef(policy.namespace, policy.name, index),
        st.sampled_from(policies),
        st.integers(0, 300),
    )
    rule = st.builds(
        ClassRule,
        st.sampled_from((None, *peers)),
        spans | st.sampled_from((None, *named_ports)),
        origins,
    )
    return PolicyClass(direction, policies, tuple(draw(st.lists(rule, max_size=4))))


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    held_peers = draw(st.lists(peer_sets, max_size=3, unique_by=lambda part: part.name))
    held_ports = draw(st.lists(port_sets, max_size=3, unique_by=lambda part: part.name))
    blocks = draw(st.lists(block_sets(), max_size=2, unique_by=lambda part: part.name))
    peers = (*(part.name for part in held_peers), *(part.name for part in blocks))
    named = tuple(part.name for part in held_ports)
    gates = {
        direction: draw(
            st.lists(classes(direction, peers, named), max_size=2, unique_by=lambda part: part.name)
        )
        for direction in Direction
    }
    taken = draw(st.lists(addresses, max_size=6, unique=True))
    pods, legend = (
        draw(_pods(taken, gates)),
        draw(st.dictionaries(addresses, legend_entries, max_size=6)),
    )
    if draw(st.integers(0, 4)) == 4:
        pods = [replace(pod, ingress=None, egress=None) for pod in pods]
        return RuleSet.of(NODE, pods=pods, legend=legend, enforcement=Enforcement.OFF)
    return RuleSet.of(
        NODE,
        peer_sets=held_peers,
        port_sets=held_ports,
        block_sets=blocks,
        classes=[part for held in gates.values() for part in held],
        pods=pods,
        legend=legend,
    )


def _pods(
    taken: list[Address], gates: dict[Direction, list[PolicyClass]]
) -> st.SearchStrategy[list[PodEntry]]:
    def gate(direction: Direction) -> st.SearchStrategy[str | None]:
        return st.sampled_from((None, *(part.name for part in gates[direction])))

    pod = st.builds(
        PodEntry,
        uid=st.sampled_from(("1", "2", "3a", "4.b-c")),
        namespace=words,
        name=words,
        addresses=st.just(()),
        ingress=gate(Direction.INGRESS),
        egress=gate(Direction.EGRESS),
        existing=st.sampled_from(ExistingConnections),
    )

    def share(pods: list[PodEntry]) -> list[PodEntry]:
        """Every address goes to one pod; with a number of pods above one, the last waits for its own."""
        owners = max(1, len(pods) - 1)
        return [
            replace(one, addresses=tuple(taken[index::owners])) if index < owners else one
            for index, one in enumerate(pods)
        ]

    return st.lists(pod, max_size=4, unique_by=lambda one: one.uid).map(share)


legend_entries = st.builds(
    LegendEntry,
    words,
    words,
    words,
    st.sampled_from(("", "Deployment")),
    st.sampled_from(("", "=cmd|' /C'", "\x1b[2J€")),
)
