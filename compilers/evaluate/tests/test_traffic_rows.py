"""Both gates, nodes and the pod itself: one table a row of the behaviours that engines get wrong.

The rows that are about later packets, frames or the kernel's memory of connections have no first packet to judge:
packet tests prove them.
"""

import pytest

from compilers.evaluate.decision import Outcome, Verdict
from compilers.evaluate.tests.stage import (
    block,
    cluster,
    decide,
    labels,
    pods,
    policy,
    rule,
    verdict,
)
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction

OPEN, CLOSED = [rule()], list[object]()
CLOSED_BOTH = policy("shop/closed", EVERYTHING, ingress=[], egress=[])

GATES = [
    # (egress rules of the source's policy, ingress rules of the destination's, verdict, direction that decides)
    (None, None, Verdict.ALLOWED, None),
    (OPEN, OPEN, Verdict.ALLOWED, None),
    (OPEN, None, Verdict.ALLOWED, None),
    (None, OPEN, Verdict.ALLOWED, None),
    (CLOSED, None, Verdict.DENIED, Direction.EGRESS),
    (CLOSED, OPEN, Verdict.DENIED, Direction.EGRESS),
    (None, CLOSED, Verdict.DENIED, Direction.INGRESS),
    (OPEN, CLOSED, Verdict.DENIED, Direction.INGRESS),
    (CLOSED, CLOSED, Verdict.DENIED, Direction.EGRESS),
]


@pytest.mark.parametrize(("egress", "ingress", "expected", "direction"), GATES)
def test_egress_of_the_source_and_ingress_of_the_destination_must_both_allow(
    egress: list[object] | None, ingress: list[object] | None, expected: Verdict, direction: Direction | None
) -> None:
    # Kubernetes: "both the egress policy on the source pod and the ingress policy on the destination pod need to allow
    # the connection. If either side does not allow the connection, it will not happen."
    state = cluster(
        policy("shop/from", labels("app=web"), egress=egress),  # type: ignore[arg-type] # a table of rules
        policy("ops/to", labels("app=web"), ingress=ingress),  # type: ignore[arg-type] # a table of rules
    )
    for decision in decide(state, "shop/web", "ops/web", "TCP 80"):
        assert decision.verdict is expected
        assert decision.deciding_direction is direction
        assert bool(decision.policies) is (expected is Verdict.DENIED)


def test_a_pod_reaches_itself_under_every_policy() -> None:
    # Kubernetes: "a pod cannot block access to itself".
    for service in ("TCP 80", "UDP 1", "ICMP"):
        for decision in decide(cluster(CLOSED_BOTH), "shop/db", "shop/db", service):
            assert decision.verdict is Verdict.ALLOWED
            assert {gate.outcome for gate in decision.gates.values()} == {Outcome.SELF}


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        # API, ingress: "Traffic is allowed to a pod [...] if the traffic source is the pod's local node".
        ("node-a", "shop/db", "allowed"),
        ("node-b", "shop/db", "denied"),
        ("node-b", "shop/api", "allowed"),
        # A pod to its own node: its egress policies hold.
        ("shop/db", "node-a", "denied"),
        ("shop/db", "node-b", "denied"),
        ("ops/web", "node-b", "allowed"),
        ("node-a", "node-b", "allowed"),
        ("node-a", "outside", "allowed"),
        ("outside", "shop/db", "denied"),
        ("outside", "node-a", "allowed"),
        ("shop/db", "outside", "denied"),
    ],
)
def test_nodes_reach_their_own_pods_and_nothing_else_for_free(
    source: str, destination: str, expected: str
) -> None:
    state = cluster(CLOSED_BOTH)
    assert {verdict(state, source, destination, service) for service in ("TCP 80", "UDP 53", "ICMP")} == {
        expected
    }


@pytest.mark.parametrize(
    ("peers", "source", "expected"),
    [
        ([block("172.31.0.12/32"), block("fd31::c/128")], "node-b", "allowed"),
        ([block("172.31.0.11/32"), block("fd31::b/128")], "node-b", "denied"),
        ([pods("")], "node-b", "denied"),
        (None, "node-b", "allowed"),
    ],
)
def test_only_a_block_can_name_another_node(peers: list[object] | None, source: str, expected: str) -> None:
    # Kubernetes: hostNetwork and node traffic is known by the node's IP alone.
    state = cluster(policy("shop/p", labels("app=db"), ingress=[rule(peers)]))  # type: ignore[arg-type] # a table of peers
    assert verdict(state, source, "shop/db", "TCP 80") == expected


def test_egress_to_a_node_is_judged_by_blocks_and_has_no_ingress_gate() -> None:
    out = policy("shop/p", labels("app=db"), egress=[rule([block("172.31.0.0/24"), block("fd31::/64")])])
    for node in ("node-a", "node-b"):
        for decision in decide(cluster(out), "shop/db", node, "TCP 10250"):
            assert decision.verdict is Verdict.ALLOWED
            assert decision.egress.outcome is Outcome.ADMITTED
            assert decision.ingress.outcome is Outcome.NOT_A_POD


@pytest.mark.parametrize(
    ("ports", "expected"), [(None, "allowed"), ([], "allowed"), (["TCP", "UDP", "SCTP"], "denied")]
)
def test_icmp_to_an_isolated_pod_is_admitted_only_by_a_rule_without_ports(
    ports: list[str] | None, expected: str
) -> None:
    # API, ports: "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)".
    state = cluster(policy("shop/p", labels("app=db"), ingress=[rule(None, ports)]))
    assert verdict(state, "ops/web", "shop/db", "ICMP") == expected


def test_what_several_policies_admit_adds_up() -> None:
    # Kubernetes: "the connections allowed in that direction from that pod is the union of what the applicable policies
    # allow. Thus, order of evaluation does not affect the policy result."
    policies = (
        policy("shop/a", labels("app=db"), ingress=[rule([pods("app=web")], ["TCP 80"])]),
        policy("shop/b", EVERYTHING, ingress=[]),
        policy("shop/c", labels("app=db"), ingress=[rule([pods("app=api")], ["TCP 81"])]),
    )
    for state in (cluster(*policies), cluster(*reversed(policies))):
        found = {
            (source, service): verdict(state, source, "shop/db", service)
            for source in ("shop/web", "shop/api")
            for service in ("TCP 80", "TCP 81")
        }
        assert found == {
            ("shop/web", "TCP 80"): "allowed",
            ("shop/web", "TCP 81"): "denied",
            ("shop/api", "TCP 80"): "denied",
            ("shop/api", "TCP 81"): "allowed",
        }


def test_a_deleted_policy_opens_what_nothing_else_isolates() -> None:
    # Kubernetes: "By default, a pod is non-isolated".
    closed = policy("shop/a", labels("app=db"), ingress=[])
    assert verdict(cluster(closed), "ops/web", "shop/db", "TCP 80") == "denied"
    assert verdict(cluster(), "ops/web", "shop/db", "TCP 80") == "allowed"
    assert verdict(cluster(CLOSED_BOTH), "ops/web", "shop/db", "TCP 80") == "denied"
