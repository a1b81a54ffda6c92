"""Rule sets from cluster states: which pods, classes and sets a node gets, and which not."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from compilers.compile import Compiler
from compilers.model.block import IpBlock
from compilers.model.cluster import Cluster, Namespace, Phase, Pod, PodNetwork
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector
from compilers.model.words import Direction, Protocol
from compilers.ruleset.parts import PortSpan

HTTP = PortMatch(Protocol.TCP, "http")
WEB = SelectorPeer(LabelSelector((("app", "web"),)), None)


def pod(name: str, last: int, node: str = "node-a", port: int = 80) -> Pod:
    return Pod(
        "shop",
        name,
        f"uid-{name}",
        {"app": name.partition("-")[0]},
        node,
        (ip_address(f"10.244.1.{last}"),),
        (NamedPort("http", "TCP", port),),
    )


def policy(name: str, app: str | None, rules: tuple[PolicyRule, ...], direction: Direction) -> NetworkPolicy:
    subject = LabelSelector((("app", app),)) if app else EVERYTHING
    return NetworkPolicy("shop", name, f"uid-{name}", subject, {direction: Side(rules)})


def state(pods: list[Pod], *policies: NetworkPolicy) -> Cluster:
    return Cluster.of([Namespace("shop", {})], pods, policies)


DENY = policy("deny", None, (), Direction.INGRESS)


@pytest.mark.parametrize(
    "gone",
    [
        replace(pod("web", 1), phase=Phase.SUCCEEDED),
        replace(pod("web", 1), phase=Phase.FAILED, addresses=()),
        replace(pod("web", 1), network=PodNetwork.HOST),
        replace(pod("web", 1), node="node-b"),
        replace(pod("web", 1), node=None),
        replace(pod("web", 9), created="2020"),
    ],
    ids=["succeeded", "failed", "host network", "other node", "no node", "lost its address"],
)
def test_a_pod_without_gates_here_has_no_entry(gone: Pod) -> None:
    stays = replace(pod("db", 9), created="2024")
    rule_set = Compiler(state([gone, stays], DENY)).node("node-a")
    assert list(rule_set.pods) == [stays.uid]


def test_pods_that_the_same_policies_select_share_one_class() -> None:
    rule_set = Compiler(state([pod("web-0", 1), pod("web-1", 2), pod("db", 3)], DENY)).node("node-a")
    assert len(rule_set.classes) == 1
    assert {one.ingress for one in rule_set.pods.values()} == set(rule_set.classes)


def test_equal_selectors_of_two_policies_share_one_set() -> None:
    rule = (PolicyRule((WEB,), None),)
    first, second = policy("a", "db", rule, Direction.INGRESS), policy("b", "api", rule, Direction.EGRESS)
    rule_set = Compiler(state([pod("web", 1), pod("db", 2), pod("api", 3)], first, second)).node("node-a")
    (peers,) = rule_set.peer_sets.values()
    assert peers.addresses == {ip_address("10.244.1.1")}


def test_a_port_name_of_an_ingress_rule_holds_the_subjects_of_this_node_only() -> None:
    pods = [pod("web-0", 1, port=8080), pod("web-1", 2, "node-b", port=8081)]
    named = policy("named", "web", (PolicyRule(None, (HTTP,)),), Direction.INGRESS)
    (ports,) = Compiler(state(pods, named)).node("node-a").port_sets.values()
    assert ports.elements == {(ip_address("10.244.1.1"), Protocol.TCP, 8080)}


def test_a_port_name_of_an_egress_rule_holds_every_destination_of_the_cluster() -> None:
    pods = [pod("db", 3), pod("web-0", 1, port=8080), pod("web-1", 2, "node-b", port=8081)]
    named = policy("named", "db", (PolicyRule((WEB,), (HTTP,)),), Direction.EGRESS)
    (ports,) = Compiler(state(pods, named)).node("node-a").port_sets.values()
    assert {number for _, _, number in ports.elements} == {8080, 8081}


def test_a_side_that_could_not_be_read_isolates_and_admits_nothing() -> None:
    fault = Fault(ObjectRef("NetworkPolicy", "shop", "broken"), ("spec", "ingress", 0), "is odd")
    sides = {Direction.INGRESS: Side(faults=(fault,))}
    broken = NetworkPolicy("shop", "broken", "uid", LabelSelector((("app", "db"),)), sides)
    good = policy("good", "web", (PolicyRule(None, None),), Direction.INGRESS)

    rule_set = Compiler(state([pod("db", 1), pod("web", 2), pod("api", 3)], broken, good)).node("node-a")

    classes = {
        one.name: rule_set.classes[one.ingress] if one.ingress else None for one in rule_set.pods.values()
    }
    assert classes["db"] is not None
    assert classes["db"].rules == ()
    assert classes["web"] is not None
    assert len(classes["web"].rules) == 1
    assert classes["api"] is None
    assert all(one.egress is None for one in rule_set.pods.values())


def test_a_policy_whose_selector_could_not_be_read_isolates_its_namespace_and_no_other() -> None:
    broken = replace(DENY, subject=None)
    stranger = replace(pod("web", 2), namespace="ops", uid="uid-stranger")
    rule_set = Compiler(state([pod("db", 1), stranger], broken)).node("node-a")
    assert rule_set.pods["uid-db"].ingress is not None
    assert rule_set.pods["uid-stranger"].ingress is None


def test_a_block_without_any_address_left_admits_nothing_and_needs_no_set() -> None:
    nothing = IpBlock(ip_network("10.0.0.0/8"), (ip_network("10.0.0.0/9"), ip_network("10.128.0.0/9")))
    empty = policy("empty", "db", (PolicyRule((nothing,), None),), Direction.INGRESS)
    rule_set = Compiler(state([pod("db", 1)], empty)).node("node-a")
    (only,) = rule_set.classes.values()
    assert only.rules == ()
    assert rule_set.block_sets == {}


def test_a_rule_that_repeats_another_is_compiled_once_and_named_by_the_first() -> None:
    rule = PolicyRule((WEB,), (PortMatch(Protocol.TCP, 80),))
    twice = policy("twice", "db", (rule, rule), Direction.INGRESS)
    (only,) = Compiler(state([pod("db", 1)], twice)).node("node-a").classes.values()
    (compiled,) = only.rules
    assert compiled.ports == PortSpan(Protocol.TCP, 80, 80)
    assert compiled.origin.index == 0


def test_a_node_that_nobody_runs_on_has_an_empty_rule_set() -> None:
    rule_set = Compiler(state([pod("db", 1)], DENY)).node("node-z")
    assert not rule_set.pods
    assert not rule_set.classes
