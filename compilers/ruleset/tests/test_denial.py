"""Which open connections a rule set denies, and which pods have to be looked at after a change."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import pytest

from compilers.model.faults import ObjectRef
from compilers.model.settings import ExistingConnections
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.ruleset.denial import Denials, Flow, perhaps_closed
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import (
    BlockSet,
    ClassRule,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortSet,
    PortSpan,
    RuleRef,
)
from compilers.ruleset.rule_set import RuleSet

CUT, KEEP = ExistingConnections.CUT, ExistingConnections.KEEP
ORIGIN: Final = RuleRef("shop", "web", 0)
PEERS: Final = content_name(NameKind.PEER_SET, ("peers",))
PORTS: Final = content_name(NameKind.PORT_SET, ("http",))
BLOCK: Final = BlockSet(Family.IPV4, ((int(ip_address("192.0.2.0")), int(ip_address("192.0.2.127"))),))
WEB, DB, PEER, STRANGER = "10.0.0.1", "10.0.0.2", "10.9.0.1", "10.9.0.2"
INTO: Final = PolicyClass(
    Direction.INGRESS,
    (ObjectRef("NetworkPolicy", "shop", "web"),),
    (
        ClassRule(PEERS, PortSpan(Protocol.TCP, 80, 90), ORIGIN),
        ClassRule(BLOCK.name, None, ORIGIN),
        ClassRule(None, PortSpan(Protocol.SCTP), ORIGIN),
    ),
)
OUT: Final = PolicyClass(
    Direction.EGRESS,
    (ObjectRef("NetworkPolicy", "shop", "web"),),
    (ClassRule(PEERS, PORTS, ORIGIN), ClassRule(PEERS, PortSpan(Protocol.UDP, 53, 53), ORIGIN)),
)


def pod(name: str, addresses: str, *classes: PolicyClass, existing: ExistingConnections = CUT) -> PodEntry:
    gates = {one.direction: one.name for one in classes}
    return PodEntry(
        f"uid-{name}",
        "shop",
        name,
        tuple(map(ip_address, addresses.split())),
        gates.get(Direction.INGRESS),
        gates.get(Direction.EGRESS),
        existing,
    )


def rule_set(*pods: PodEntry, peers: str = f"{PEER} fd09::1", port: int = 8080) -> RuleSet:
    return RuleSet.of(
        "node-a",
        peer_sets=[PeerSet(PEERS, frozenset(map(ip_address, peers.split())))],
        port_sets=[PortSet(PORTS, frozenset({(ip_address(PEER), Protocol.TCP, port)}))],
        block_sets=[BLOCK],
        classes=[INTO, OUT],
        pods=pods,
    )


def flow(text: str) -> Flow:
    """From `10.9.0.1 > 10.0.0.1 TCP 80`; of other protocols the number, and no port."""
    source, _, destination, protocol, *port = text.split()
    numbers = {"TCP": 6, "UDP": 17, "SCTP": 132}
    number = numbers[protocol] if protocol in numbers else int(protocol)
    return Flow(ip_address(source), ip_address(destination), number, 40000, int(port[0]) if port else 0)


STATE: Final = rule_set(pod("web", f"{WEB} fd00::1", INTO, OUT), pod("db", DB))


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        (f"{PEER} > {WEB} TCP 80", False),
        (f"{PEER} > {WEB} TCP 90", False),
        (f"{PEER} > {WEB} TCP 91", True),
        (f"{PEER} > {WEB} UDP 80", True),
        (f"{STRANGER} > {WEB} TCP 80", True),
        ("fd09::1 > fd00::1 TCP 80", False),
        ("fd09::2 > fd00::1 TCP 80", True),
        ("192.0.2.127 > 10.0.0.1 UDP 1", False),
        ("192.0.2.128 > 10.0.0.1 UDP 1", True),
        ("192.0.2.1 > 10.0.0.1 1", False),
        (f"{PEER} > {WEB} 1", True),
        (f"{STRANGER} > {WEB} SCTP 7", False),
        (f"{WEB} > {PEER} TCP 8080", False),
        (f"{WEB} > {PEER} TCP 80", True),
        (f"{WEB} > {PEER} SCTP 8080", True),
        (f"{WEB} > {PEER} UDP 53", False),
        (f"{WEB} > {STRANGER} UDP 53", True),
        (f"{WEB} > {DB} TCP 80", True),
        (f"{DB} > {WEB} TCP 80", True),
        (f"{DB} > {PEER} TCP 80", False),
        (f"{WEB} > {WEB} TCP 7", False),
        (f"{PEER} > {STRANGER} TCP 80", False),
        ("fe80::1 > fe80::2 TCP 80", False),
    ],
)
def test_a_connection_is_denied_when_a_gate_would_not_admit_its_first_packet(text: str, denied: bool) -> None:
    assert Denials(STATE).denies(flow(text)) is denied


@pytest.mark.parametrize(
    ("web", "db", "denied"), [(CUT, KEEP, True), (KEEP, CUT, True), (KEEP, KEEP, False), (CUT, CUT, True)]
)
def test_the_pod_whose_gate_denies_decides_and_either_is_enough(
    web: ExistingConnections, db: ExistingConnections, denied: bool
) -> None:
    state = rule_set(pod("web", WEB, OUT, existing=web), pod("db", DB, INTO, existing=db))
    assert Denials(state).denies(flow(f"{WEB} > {DB} TCP 80")) is denied
    # A gate that admits it has no say.
    assert not Denials(state).denies(flow(f"{WEB} > {PEER} UDP 53"))
    assert Denials(state).denies(flow(f"{STRANGER} > {DB} TCP 80")) is (db is CUT)


def looked_at(texts: str) -> frozenset[Address]:
    return frozenset(map(ip_address, texts.split()))


BOTH: Final = rule_set(pod("web", WEB, INTO), pod("db", DB, OUT))
MORE: Final = rule_set(pod("web", WEB, INTO), pod("db", DB, OUT), peers=f"{PEER} {STRANGER} fd09::1")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(None, BOTH, f"{WEB} {DB}", id="nothing is known of before"),
        pytest.param(BOTH, BOTH, "", id="nothing changed"),
        pytest.param(BOTH, MORE, "", id="a peer joined"),
        pytest.param(MORE, BOTH, f"{WEB} {DB}", id="a peer left"),
        pytest.param(
            BOTH, rule_set(pod("web", WEB, INTO), pod("db", DB, OUT), port=9), DB, id="a port moved"
        ),
        pytest.param(BOTH, rule_set(pod("web", WEB, INTO, OUT), pod("db", DB, OUT)), WEB, id="another class"),
        pytest.param(
            BOTH, rule_set(pod("web", f"{WEB} {STRANGER}", INTO)), f"{WEB} {STRANGER}", id="address"
        ),
        pytest.param(
            rule_set(pod("web", WEB, INTO, existing=KEEP)), rule_set(pod("web", WEB, INTO)), WEB, id="now cut"
        ),
        pytest.param(
            rule_set(pod("web", WEB)), rule_set(pod("web", WEB, INTO, existing=KEEP)), "", id="they are kept"
        ),
    ],
)
def test_only_pods_that_may_have_been_closed_to_something_are_looked_at(
    before: RuleSet | None, now: RuleSet, expected: str
) -> None:
    assert perhaps_closed(before, now) == looked_at(expected)


def test_a_choice_is_part_of_the_pod() -> None:
    web = pod("web", WEB, INTO)
    assert rule_set(web) != rule_set(replace(web, existing=KEEP))
