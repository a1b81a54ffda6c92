"""Small rule sets for tests of the enforcer: pods of one node, who of them is isolated, and by how many rules."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import nft_templates
from compilers.model.faults import ObjectRef
from compilers.model.settings import Enforcement
from compilers.model.words import Direction, Protocol
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.render import Tables, render, with_slots
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import ClassRule, LegendEntry, PeerSet, PodEntry, PolicyClass, PortSpan, RuleRef
from compilers.ruleset.rule_set import RuleSet

NODE: Final = "node-1"
PEERS: Final = content_name(NameKind.PEER_SET, ("peers",))
ONE, TWO, THREE = "10.0.0.1 fd00::1", "10.0.0.2 fd00::2", "10.0.0.3 fd00::3"


def base() -> Base:
    """The shipped base."""
    return base_tables(
        nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
    )


def untold(rule_set: RuleSet, base: Base) -> Tables:
    """What a kernel holds while nobody says who has an unknown address, and such are dropped."""
    return with_slots(render(rule_set, base), base.closed_untold)


def policy_class(direction: Direction, *ports: int) -> PolicyClass:
    """A class that admits the peers to these TCP ports."""
    rules = (
        ClassRule(PEERS, PortSpan(Protocol.TCP, port, port), RuleRef("a", "web", index))
        for index, port in enumerate(ports)
    )
    return PolicyClass(direction, (ObjectRef("NetworkPolicy", "a", "web"),), tuple(rules))


def pod(name: str, addresses: str = "", *classes: PolicyClass) -> PodEntry:
    """A pod with these addresses, blank between them, and one gate a class."""
    gates = {one.direction: one.name for one in classes}
    return PodEntry(
        uid=f"uid-{name}",
        namespace="a",
        name=name,
        addresses=tuple(map(ip_address, addresses.split())),
        ingress=gates.get(Direction.INGRESS),
        egress=gates.get(Direction.EGRESS),
    )


def rule_set(pods: Iterable[PodEntry], classes: Iterable[PolicyClass] = (), peers: str = TWO) -> RuleSet:
    """A rule set of these pods; `peers` are the addresses that classes admit."""
    held = tuple(pods)
    known = tuple(classes)
    return RuleSet.of(
        NODE,
        peer_sets=[PeerSet(PEERS, frozenset(map(ip_address, peers.split())))] if known else [],
        classes=known,
        pods=held,
        legend={address: LegendEntry("a", one.name, one.uid) for one in held for address in one.addresses},
    )


WEB: Final = policy_class(Direction.INGRESS, 80)
WEB_8080: Final = policy_class(Direction.INGRESS, 80, 8080)
OUT: Final = policy_class(Direction.EGRESS, 443)

NOBODY_ISOLATED: Final = rule_set([pod("web", ONE), pod("client", TWO)])
WEB_ISOLATED: Final = rule_set([pod("web", ONE, WEB), pod("client", TWO)], [WEB])
WEB_CHANGED: Final = rule_set(
    [pod("web", ONE, WEB_8080, OUT), pod("other", THREE, WEB_8080)], [WEB_8080, OUT], peers=THREE
)
SWITCHED_OFF: Final = replace(NOBODY_ISOLATED, enforcement=Enforcement.OFF)
WEB_WAITING: Final = rule_set([pod("web", "", WEB), pod("client", TWO)], [WEB])
WEB_SUCCEEDED: Final = rule_set([pod("later", ONE, WEB), pod("client", TWO)], [WEB])
"""Another pod has the addresses that web had."""
ALL: Final = (NOBODY_ISOLATED, WEB_ISOLATED, WEB_CHANGED, WEB_WAITING, WEB_SUCCEEDED)
