"""What is too large closes the pods it is about, and nothing else of the node; and what is large is not slow."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_network
from os import times

import pytest

from compilers.compile import Compiled, Compiler
from compilers.compile.outline import CLOSED_POLICIES
from compilers.compile.room import CLASS, MOST_PODS, NODE, Load, Room, closed
from compilers.model.block import IpBlock
from compilers.model.cluster import Cluster, Namespace, Pod
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector, Operator, Requirement
from compilers.model.words import Direction, Protocol

INGRESS = Direction.INGRESS
GOOD = NetworkPolicy(
    "good",
    "good",
    "uid-good",
    EVERYTHING,
    {INGRESS: Side((PolicyRule((SelectorPeer(EVERYTHING, None),), (PortMatch(Protocol.TCP, 80),)),))},
)
SMALL = Room(policies=4, rules=10, sets=5, elements=100, ranges=10)


def pods(namespace: str, count: int, first: int = 1) -> list[Pod]:
    return [
        Pod(
            namespace,
            f"pod-{number}",
            f"uid-{namespace}-{number}",
            {"number": str(number)},
            "node-a",
            (IPv4Address(0x0A000000 + first + number),),
            tuple(NamedPort(f"p{port}", "TCP", 1 + port) for port in range(3)),
        )
        for number in range(count)
    ]


def policy(
    name: str,
    peers: Iterable[Peer] = (),
    ports: Iterable[PortMatch] = (),
    subject: LabelSelector = EVERYTHING,
) -> NetworkPolicy:
    rule = PolicyRule(tuple(peers), tuple(ports))
    return NetworkPolicy("bad", name, f"uid-{name}", subject, {INGRESS: Side((rule,))})


def selector(number: int) -> SelectorPeer:
    return SelectorPeer(LabelSelector((("app", f"a{number}"),)), None)


def everyone(number: int) -> SelectorPeer:
    nobody = Requirement(f"k{number}", Operator.DOES_NOT_EXIST)
    return SelectorPeer(None, LabelSelector((), (nobody,)))


def block(count: int, first: int = 0) -> IpBlock:
    holes = (ip_network((0x0A000000 + 64 * (first + number), 28)) for number in range(count))
    return IpBlock(ip_network("10.0.0.0/8"), tuple(holes))


def compiled(bad: Iterable[NetworkPolicy], bad_pods: int = 3) -> Compiled:
    every = [*pods("bad", bad_pods), *pods("good", 2, first=1 << 20)]
    state = Cluster.of([Namespace("bad", {}), Namespace("good", {})], every, [*bad, GOOD])
    return Compiler(state).compiled("node-a")


PORTS = tuple(PortMatch(Protocol.TCP, number) for number in range(1, 501))
TOO_LARGE: dict[str, Callable[[], list[NetworkPolicy]]] = {
    "16,384 policies": lambda: [policy(f"p{number}") for number in range(CLASS.policies + 1)],
    "16,384 rules": lambda: [policy("p", (selector(number) for number in range(33)), PORTS)],
    "2,048 different selectors": lambda: [policy("p", map(selector, range(CLASS.sets + 1)))],
    "32,768 ranges": lambda: [policy("p", [block(CLASS.ranges + 1)])],
}


@pytest.mark.parametrize("sentence", TOO_LARGE)
def test_a_class_that_takes_up_too_much_is_closed_and_its_heaviest_policy_told(sentence: str) -> None:
    found = compiled([policy("a-small"), *TOO_LARGE[sentence]()])

    bad = {pod.ingress for pod in found.rule_set.pods.values() if pod.namespace == "bad"}
    good = {pod.ingress for pod in found.rule_set.pods.values() if pod.namespace == "good"}
    (shut,) = (found.rule_set.classes[name or ""] for name in bad)
    (served,) = (found.rule_set.classes[name or ""] for name in good)
    assert not shut.rules
    assert len(shut.policies) <= CLOSED_POLICIES
    assert len(served.rules) == 1
    (fault,) = found.faults
    assert fault.path == ("spec", "ingress")
    assert fault.object.name == ("p" if len(shut.policies) < CLOSED_POLICIES else "a-small")
    assert sentence in fault.reason
    assert "admit no ingress" in fault.reason


def test_a_class_of_too_many_addresses_is_closed_before_they_are_collected() -> None:
    began = times().user
    found = compiled([policy("p", map(everyone, range(2_000)))], bad_pods=1_000)
    assert "524,288 addresses" in found.faults[0].reason
    assert len(found.rule_set.peer_sets) == 1
    # Two thousand selectors over a thousand pods, one after the other, take many times as long.
    assert times().user - began < 5


def test_a_node_that_is_full_closes_the_largest_classes_first() -> None:
    fits = (2 * NODE.ranges) // CLASS.ranges
    own = [
        policy(
            f"p{number}",
            [block(CLASS.ranges - 1, first=number)],
            (),
            LabelSelector((("number", str(number)),)),
        )
        for number in range(fits)
    ]
    found = compiled(own, bad_pods=fits)

    shut = [part for part in found.rule_set.classes.values() if not part.rules]
    assert len(shut) == fits - NODE.ranges // CLASS.ranges
    assert len(found.faults) == len(shut)
    assert all("of node node-a have more than 65,536 ranges" in fault.reason for fault in found.faults)
    good = next(pod for pod in found.rule_set.pods.values() if pod.namespace == "good")
    assert found.rule_set.classes[good.ingress or ""].rules


def load(**sizes: int) -> Load:
    return Load(policies=1, rules=sizes.get("rules", 0), elements={str(sizes): sizes.get("elements", 0)})


@pytest.mark.parametrize(
    ("loads", "left_out"),
    [
        ({"a": load(rules=10)}, {}),
        ({"a": load(rules=11)}, {"a": "rules"}),
        ({"a": load(rules=8), "b": load(rules=2), "c": load(rules=3)}, {"a": "rules"}),
        ({"a": load(elements=60), "b": load(elements=61)}, {"b": "elements"}),
        ({name: load(rules=1) for name in "abcdef"}, {"e": "policies", "f": "policies"}),
    ],
)
def test_small_ones_are_let_in_first(loads: dict[str, Load], left_out: dict[str, str]) -> None:
    assert closed(loads, {name: name for name in loads}, SMALL) == left_out


def test_a_set_that_two_classes_use_counts_once() -> None:
    shared = Load(policies=1, rules=1, elements={"p": 90})
    assert not closed({"a": shared, "b": shared}, {"a": "a", "b": "b"}, SMALL)


def test_pods_that_are_only_bound_by_name_do_not_push_out_those_with_addresses() -> None:
    bound = [
        Pod("bad", f"bound-{number}", f"uid-bound-{number}", {}, "node-a") for number in range(MOST_PODS + 9)
    ]
    state = Cluster.of([Namespace("good", {})], [*bound, *pods("good", 2)], [GOOD])
    rule_set = Compiler(state).node("node-a")
    assert len(rule_set.pods) == MOST_PODS
    assert sum(pod.namespace == "good" for pod in rule_set.pods.values()) == 2


@pytest.mark.parametrize(
    ("what", "policies"),
    [
        ("every pod of the cluster", [policy("p", [everyone(0)], PORTS)]),
        ("port names", [policy("p", (), (PortMatch(Protocol.TCP, f"p{number}") for number in range(2_000)))]),
        ("policies", [policy(f"p{number}", [selector(0)]) for number in range(2_000)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_large_and_fits_is_compiled_in_time(what: str, policies: list[NetworkPolicy]) -> None:
    began = times().user
    found = compiled(policies, bad_pods=5_000 if what != "policies" else 50)
    assert not found.faults
    # Once for each rule instead of once for each set, every one of these takes longer than a minute.
    assert times().user - began < 10
