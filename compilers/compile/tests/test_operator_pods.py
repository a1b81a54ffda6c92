"""The operator's own pods in rule sets: known on their node, members of sets, and without gates whatever takes up room."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from compilers.compile import Compiler
from compilers.compile.room import CLASS, MOST_PODS
from compilers.model.cluster import OPERATOR, Cluster, Namespace, Pod
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction, Protocol
from compilers.ruleset.parts import PodEntry
from compilers.ruleset.rule_set import RuleSet

HERE = OPERATOR.namespace
NAMED = PortMatch(Protocol.TCP, "grpc")
EVERYBODY = SelectorPeer(None, EVERYTHING)


def pod(name: str, last: int, account: str = "default") -> Pod:
    address = IPv4Address(0x0A000000 + last)
    return Pod(
        HERE,
        name,
        f"uid-{name}",
        {},
        "node-a",
        (address,),
        (NamedPort("grpc", "TCP", 9473),),
        account=account,
    )


def policy(name: str, *rules: PolicyRule) -> NetworkPolicy:
    return NetworkPolicy(
        HERE, name, f"uid-{name}", EVERYTHING, {direction: Side(rules) for direction in Direction}
    )


def unreadable() -> NetworkPolicy:
    sides = {
        direction: Side(
            faults=(Fault(ObjectRef("NetworkPolicy", HERE, "p"), ("spec", "podSelector"), "is broken"),)
        )
        for direction in Direction
    }
    return NetworkPolicy(HERE, "p", "uid-p", None, sides)


OWN = pod("operator", 1, OPERATOR.name)
OTHER = pod("other", 2)


def rule_set(*policies: NetworkPolicy, others: tuple[Pod, ...] = (OTHER,), own: Pod = OWN) -> RuleSet:
    return Compiler(Cluster.of([Namespace(HERE, {})], [own, *others], policies)).node("node-a")


def entry(found: RuleSet, one: Pod) -> PodEntry:
    return found.pods[one.uid]


CLOSING = {
    "everything": [policy("p")],
    "a selector that cannot be read": [unreadable()],
    "by port names, of whoever": [policy("p", PolicyRule((EVERYBODY,), (NAMED,)))],
    "without room": [policy(f"p{number}") for number in range(CLASS.policies + 1)],
}


@pytest.mark.parametrize("policies", CLOSING.values(), ids=CLOSING.keys())
def test_an_operator_is_known_and_has_no_gates(policies: list[NetworkPolicy]) -> None:
    found = rule_set(*policies)

    assert entry(found, OWN) == PodEntry(OWN.uid, HERE, OWN.name, OWN.addresses, ingress=None, egress=None)
    assert entry(found, OTHER).ingress is not None
    assert entry(found, OTHER).egress is not None


def test_a_node_with_no_other_pod_isolates_nobody() -> None:
    found = rule_set(policy("p"), others=())

    assert not found.isolates
    assert not found.classes


def test_an_operator_is_a_member_of_sets_and_its_port_names_are_destinations() -> None:
    found = rule_set(policy("p", PolicyRule((EVERYBODY,), (NAMED,))))

    assert {address for one in found.peer_sets.values() for address in one.addresses} == {
        *OWN.addresses,
        *OTHER.addresses,
    }
    led_to = {element for one in found.port_sets.values() for element in one.elements}
    assert (OWN.addresses[0], Protocol.TCP, 9473) in led_to


def test_an_operator_that_waits_for_its_address_closes_nothing() -> None:
    found = rule_set(policy("p"), own=replace(OWN, addresses=()))

    assert not any(found.waiting(direction) for direction in Direction)
    assert entry(found, OWN).addresses == ()


@pytest.mark.parametrize("addresses", [OWN.addresses, ()], ids=["with an address", "before it has one"])
def test_no_number_of_pods_pushes_an_operator_off_its_node(addresses: tuple[IPv4Address, ...]) -> None:
    crowd = tuple(
        replace(pod(f"crowd-{number}", 10 + number), created="2020") for number in range(MOST_PODS + 9)
    )
    own = replace(OWN, created="2024", addresses=addresses)

    found = rule_set(others=crowd, own=own)

    assert len(found.pods) == MOST_PODS
    assert entry(found, own).addresses == addresses
