"""Random rule sets that are consistent: every reference resolves, no address has two pods.

For property tests of this package. Vocabularies are small so that two rule sets share much and differ in a little.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

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

ADDRESSES: tuple[Address, ...] = tuple(
    address
    for last in range(1, 9)
    for address in (IPv4Address(f"10.244.1.{last}"), IPv6Address(f"fd10:244:1::{last}"))
)
PEER_NAMES = tuple(content_name(NameKind.PEER_SET, (str(number),)) for number in range(4))
PORT_NAMES = tuple(content_name(NameKind.PORT_SET, (str(number),)) for number in range(3))
BLOCKS = (
    BlockSet(Family.IPV4, ((0, (1 << 32) - 1),)),
    BlockSet(Family.IPV4, ((10, 20), (30, 30))),
    BlockSet(Family.IPV6, ((0, (1 << 128) - 1),)),
)

addresses = st.frozensets(st.sampled_from(ADDRESSES), max_size=5)
spans = st.builds(
    lambda protocol, ends: PortSpan(protocol, min(ends), max(ends)),
    st.sampled_from(Protocol),
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
)
class_rules = st.builds(
    ClassRule,
    st.none() | st.sampled_from(PEER_NAMES) | st.sampled_from([block.name for block in BLOCKS]),
    st.none() | spans | st.sampled_from(Protocol).map(PortSpan) | st.sampled_from(PORT_NAMES),
    st.builds(RuleRef, st.just("shop"), st.sampled_from(["allow-web", "db"]), st.integers(0, 3)),
)
policy_refs = st.lists(
    st.sampled_from([ObjectRef("NetworkPolicy", "shop", name) for name in ("allow-web", "db", "deny")]),
    min_size=1,
    unique=True,
).map(lambda refs: tuple(sorted(refs)))
classes = st.builds(
    PolicyClass, st.sampled_from(Direction), policy_refs, st.lists(class_rules, max_size=4).map(tuple)
)
port_elements = st.frozensets(
    st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(Protocol), st.integers(1, 65535)), max_size=4
)


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    """A consistent rule set of node `node-a`."""
    held = {one.name: one for one in draw(st.lists(classes, max_size=4))}
    by_direction = {
        direction: [None, *(name for name, one in held.items() if one.direction is direction)]
        for direction in Direction
    }
    free = list(draw(st.permutations(ADDRESSES)))
    pods = []
    for number in range(draw(st.integers(0, 5))):
        mine = tuple(free.pop() for _ in range(draw(st.integers(0, 2))))
        ingress = draw(st.sampled_from(by_direction[Direction.INGRESS]))
        egress = draw(st.sampled_from(by_direction[Direction.EGRESS]))
        existing = draw(st.sampled_from(ExistingConnections))
        pods.append(PodEntry(f"uid-{number}", "shop", f"pod-{number}", mine, ingress, egress, existing))
    legend = {
        address: LegendEntry(pod.namespace, pod.name, pod.uid) for pod in pods for address in pod.addresses
    }
    if draw(st.integers(0, 4)) == 4:
        open_pods = [replace(pod, ingress=None, egress=None) for pod in pods]
        return RuleSet.of("node-a", pods=open_pods, legend=legend, enforcement=Enforcement.OFF)
    return RuleSet.of(
        "node-a",
        peer_sets=[PeerSet(name, draw(addresses)) for name in PEER_NAMES],
        port_sets=[PortSet(name, draw(port_elements)) for name in PORT_NAMES],
        block_sets=BLOCKS,
        classes=held.values(),
        pods=pods,
        legend=legend,
    )
