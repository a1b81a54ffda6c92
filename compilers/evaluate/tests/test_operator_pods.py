"""The operator's own pods: subjects of no policy, peers like any other."""

from dataclasses import replace

import pytest

from compilers.evaluate.decision import Outcome, Verdict
from compilers.evaluate.explain import lines
from compilers.evaluate.tests.stage import (
    block,
    changed,
    cluster,
    decide,
    labels,
    pods,
    policy,
    rule,
    verdict,
)
from compilers.model.cluster import OPERATOR, Cluster, Pod, PodNetwork, ServiceAccount
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy, Side
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction

SHOP = ServiceAccount("shop", "steward")
"""As whom the operator of these clusters runs: the stage has pods in this namespace."""
REF = ObjectRef("NetworkPolicy", "shop", "p")
BROKEN = Side(faults=(Fault(REF, ("spec", "podSelector"), "is not readable"),))
BY_ITSELF = block("10.244.1.11/32"), block("fd10:244:1::b/128")

CLOSING: dict[str, NetworkPolicy] = {
    "selects every pod": policy("shop/p", EVERYTHING, ingress=[], egress=[]),
    "selects it by its labels": policy("shop/p", labels("app=web"), ingress=[], egress=[]),
    "admits nobody it knows": policy(
        "shop/p", EVERYTHING, [rule([pods("app=none")])], [rule([pods("app=none")])]
    ),
    "has a selector that cannot be read": policy("shop/p", None, BROKEN, BROKEN),
    "has rules that cannot be read": policy("shop/p", labels("app=web"), BROKEN, BROKEN),
    "is about ports it does not have": policy(
        "shop/p", EVERYTHING, [rule(None, ["TCP none"])], [rule(None, ["TCP none"])]
    ),
    "admits its own address alone": policy("shop/p", EVERYTHING, [rule(BY_ITSELF)], [rule(BY_ITSELF)]),
}
ENDS = ("shop/api", "shop/db", "ops/web", "ops/scraper", "node-b", "outside")


def operated(*policies: NetworkPolicy, **fields: object) -> Cluster:
    """The stage, where shop/web is a pod of the operator's, with other values in these fields of it."""
    state = cluster(*policies, pods=changed("shop/web", **{"account": SHOP.name, **fields}))
    return replace(state, operator=SHOP)


@pytest.mark.parametrize("closing", CLOSING.values(), ids=CLOSING.keys())
def test_no_policy_isolates_a_pod_of_the_operators(closing: NetworkPolicy) -> None:
    state = operated(closing)
    for end in ENDS:
        for service in ("TCP 9473", "TCP 443", "UDP 53", "ICMP"):
            for decision in decide(state, "shop/web", end, service):
                assert decision.egress.outcome is Outcome.OPERATOR
            for decision in decide(state, end, "shop/web", service):
                assert decision.ingress.outcome is Outcome.OPERATOR
                assert not decision.ingress.isolating
    # The other pods that the policy selects are not let off with it.
    others = "shop/db" if closing.selects("shop", {"app": "db"}) else "shop/web"
    assert (verdict(replace(state, operator=OPERATOR), "ops/web", others, "TCP 80")) == "denied"


def test_it_is_a_peer_like_any_other() -> None:
    admits = policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")], ["TCP 80"])], egress=[])
    state = operated(admits, policy("shop/q", EVERYTHING, ingress=[], egress=[]))

    assert verdict(state, "shop/web", "shop/db", "TCP 80") == "allowed"
    assert verdict(state, "shop/web", "shop/db", "TCP 81") == "denied"
    assert verdict(state, "shop/web", "shop/api", "TCP 80") == "denied"
    assert verdict(state, "shop/db", "shop/web", "TCP 80") == "denied"
    assert verdict(state, "ops/web", "shop/web", "TCP 80") == "allowed"


@pytest.mark.parametrize(
    ("fields", "operator"),
    [
        ({"account": "default"}, SHOP),
        ({"account": ""}, SHOP),
        ({"account": "steward-2"}, SHOP),
        # An account of that name in another namespace is another account.
        ({}, ServiceAccount("ops", "steward")),
        ({}, OPERATOR),
        # Labels can be given to any pod.
        ({"account": "default", "labels": {"app": "policy-controller"}}, SHOP),
    ],
    ids=str,
)
def test_only_the_account_makes_a_pod_the_operators(
    fields: dict[str, object], operator: ServiceAccount
) -> None:
    closed = policy("shop/p", EVERYTHING, ingress=[], egress=[])
    state = replace(operated(closed, **fields), operator=operator)

    assert verdict(state, "ops/scraper", "shop/web", "TCP 80") == "denied"
    assert verdict(state, "shop/web", "outside", "TCP 80") == "denied"


def test_the_names_of_an_installation_hold_unless_others_are_given() -> None:
    own = Pod(OPERATOR.namespace, "operator-1", "uid-1", {}, "node-a", account=OPERATOR.name)

    assert Cluster.of(pods=[own]).is_operator(own)
    assert (OPERATOR.namespace, OPERATOR.name) == ("policy-controller", "policy-controller")
    assert not Cluster.of(pods=[own], operator=SHOP).is_operator(own)


def test_on_the_host_network_it_is_its_node() -> None:
    state = operated(policy("shop/p", labels("app=db"), ingress=[]), network=PodNetwork.HOST)

    for decision in decide(state, "node-a", "node-b", "TCP 9473"):
        assert decision.verdict is Verdict.ALLOWED
        assert {gate.outcome for gate in decision.gates.values()} == {Outcome.NOT_A_POD}


def test_it_is_said_why() -> None:
    closed = policy("shop/p", EVERYTHING, ingress=[], egress=[])
    (decision, _) = decide(operated(closed), "outside", "shop/web", "TCP 9473")

    assert decision.gates[Direction.INGRESS].end is not None
    assert "3. ingress of shop/web: it is the operator's own pod, which no policy can isolate" in lines(
        decision
    )
