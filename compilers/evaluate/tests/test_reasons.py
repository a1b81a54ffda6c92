"""What a decision says of its reasons: attempts, their order, and the lines an admin reads."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.evaluate.decision import Outcome, RuleRef
from compilers.evaluate.explain import lines
from compilers.evaluate.isolation import isolating
from compilers.evaluate.judge import judge
from compilers.evaluate.tests.stage import (
    PODS,
    block,
    changed,
    cluster,
    decide,
    labels,
    pods,
    policy,
    requires,
    rule,
    spaces,
)
from compilers.evaluate.traffic import traffic_between
from compilers.model.faults import Fault, InvalidField, ObjectRef, Position
from compilers.model.policy import NetworkPolicy, SelectorPeer, Side
from compilers.model.selector import EVERYTHING, Operator
from compilers.model.words import Direction, Protocol

DB = labels("app=db")
FAULT = Fault(ObjectRef("NetworkPolicy", "shop", "p"), ("spec", "ingress", 0, "ports"), "is not a list")

REASONS = [
    # (the policy, source, service, the sentence that says why not)
    (
        policy("shop/p", DB, ingress=[rule([spaces("team=shop")])]),
        "ops/web",
        "TCP 80",
        "namespaceSelector team=shop: namespace ops has team=ops",
    ),
    (
        policy("shop/p", DB, ingress=[rule([pods("app=api")])]),
        "shop/web",
        "TCP 80",
        "podSelector app=api: pod shop/web has app=web",
    ),
    (
        policy("shop/p", DB, ingress=[rule([pods("tier=front,app=api")])]),
        "shop/web",
        "TCP 80",
        "podSelector app=api, tier=front: pod shop/web has app=web, no label tier",
    ),
    (
        policy("shop/p", DB, ingress=[rule([SelectorPeer(requires("env", Operator.NOT_IN, "prod"), None)])]),
        "shop/web",
        "TCP 80",
        "podSelector env notin (prod): pod shop/web has env=prod",
    ),
    (
        policy("shop/p", DB, ingress=[rule([pods("app=web")])]),
        "ops/web",
        "TCP 80",
        "podSelector without namespaceSelector: pod ops/web is not in namespace shop",
    ),
    (
        policy("shop/p", DB, ingress=[rule([spaces("")])]),
        "203.0.113.9",
        "TCP 80",
        "a selector matches pods only: 203.0.113.9 is outside the cluster",
    ),
    (
        policy("shop/p", DB, ingress=[rule([spaces("")])]),
        "172.31.0.12",
        "TCP 80",
        "a selector matches pods only: 172.31.0.12 is node/node-b, which only an ipBlock can name",
    ),
    (
        policy("shop/p", DB, ingress=[rule([block("10.0.0.0/8")])]),
        "203.0.113.9",
        "TCP 80",
        "203.0.113.9 is not in 10.0.0.0/8",
    ),
    (
        policy("shop/p", DB, ingress=[rule([block("203.0.0.0/8", "203.0.113.0/24")])]),
        "203.0.113.9",
        "TCP 80",
        "203.0.113.9 is in except 203.0.113.0/24",
    ),
    (
        policy("shop/p", DB, ingress=[rule(None, ["TCP 80"])]),
        "shop/web",
        "TCP 443",
        "port TCP 443 is not TCP 80",
    ),
    (
        policy("shop/p", DB, ingress=[rule(None, ["TCP 80-90"])]),
        "shop/web",
        "TCP 91",
        "port TCP 91 is not TCP 80-90",
    ),
    (
        policy("shop/p", DB, ingress=[rule(None, ["TCP"])]),
        "10.244.1.11",
        "ICMP",
        "ICMP is not TCP: only a rule without ports admits it",
    ),
    (
        policy("shop/p", DB, ingress=[rule(None, ["TCP http"])]),
        "shop/web",
        "TCP 80",
        'port name "http": pod shop/db gives it no TCP number',
    ),
    (
        policy("shop/p", DB, ingress=Side(faults=(FAULT,))),
        "shop/web",
        "TCP 80",
        "the policy could not be read: NetworkPolicy shop/p: spec.ingress[0].ports: is not a list",
    ),
    (policy("shop/p", DB, ingress=[]), "shop/web", "TCP 80", "it has no ingress rule, so it admits nothing"),
]


@pytest.mark.parametrize(
    ("closed", "source", "service", "sentence"), REASONS, ids=[row[3] for row in REASONS]
)
def test_each_rule_that_does_not_admit_says_which_condition_failed(
    closed: NetworkPolicy, source: str, service: str, sentence: str
) -> None:
    for decision in decide(cluster(closed), source, "shop/db", service):
        (attempt,) = decision.ingress.attempts
        assert [str(miss).replace("ICMPv6", "ICMP") for miss in attempt.misses] == [sentence]
        assert any(sentence in line.replace("ICMPv6", "ICMP") for line in lines(decision))


@pytest.mark.parametrize(
    ("peers", "destination", "sentence"),
    [
        (None, "203.0.113.9", 'port name "http": 203.0.113.9 has no port names'),
        ([block("10.0.0.0/8")], "10.244.1.11", 'port name "http": an ipBlock peer has no port names'),
        (
            [pods("app=api")],
            "10.244.2.11",
            'port name "http": pod shop/api gives it TCP 8080, and this is TCP 80',
        ),
    ],
)
def test_port_names_of_an_egress_rule_say_who_lacks_them(
    peers: list[SelectorPeer] | None, destination: str, sentence: str
) -> None:
    state = cluster(policy("shop/p", DB, egress=[rule(peers, ["TCP http"])]))
    (decision,) = decide(state, "shop/db", destination, "TCP 80")
    assert [str(miss) for attempt in decision.egress.attempts for miss in attempt.misses] == [sentence]


def test_attempts_come_nearest_first_and_what_could_not_be_read_before_all() -> None:
    far = rule([pods("app=api,tier=x,zone=y")], ["UDP 53"])
    near = rule([pods("app=web")], ["TCP 443"])
    middle = rule([pods("app=api")], ["TCP 443"])
    state = cluster(
        policy("shop/a", DB, ingress=[far, middle, near]),
        policy("shop/b", DB, ingress=[]),
        policy("shop/c", DB, ingress=Side(faults=(FAULT,))),
    )
    decision, _ = decide(state, "shop/web", "shop/db", "TCP 80")
    order = [(item.policy.name, item.rule.index if item.rule else None) for item in decision.ingress.nearest]
    assert order == [("c", None), ("a", 2), ("a", 1), ("a", 0), ("b", None)]
    assert [item.policy.name for item in decision.ingress.attempts] == ["a", "a", "a", "b", "c"]


def test_an_admitting_rule_is_named_with_its_place_and_the_rules_before_it() -> None:
    place = Position("db.yaml", 9, 5)
    admitting = policy("shop/p", DB, ingress=[rule([pods("app=api")]), rule([pods("app=web")])])
    admitting = replace(admitting, positions={("spec", "ingress", 1): place})
    decision, _ = decide(
        cluster(admitting, policy("shop/z", EVERYTHING, ingress=[])), "shop/web", "shop/db", "TCP 80"
    )
    gate = decision.ingress
    assert gate.outcome is Outcome.ADMITTED
    assert gate.admitted_by == RuleRef("shop", "p", "Ingress", 1)
    assert gate.position == place
    assert [policy.name for policy in gate.isolating] == ["p", "z"]
    assert [attempt.rule for attempt in gate.attempts] == [RuleRef("shop", "p", "Ingress", 0)]
    assert decision.policies == ()


def test_lines_are_numbered_steps_from_the_traffic_to_the_verdict() -> None:
    closed = policy(
        "shop/db", DB, ingress=[rule([pods("app=api")], ["TCP 5432"]), rule([pods("app=web")], ["TCP 1"])]
    )
    denied, _ = decide(cluster(closed), "shop/web", "shop/db", "TCP 5432")
    assert lines(denied) == (
        "1. shop/web (10.244.1.11) -> shop/db (10.244.1.12), TCP 5432",
        "2. egress of shop/web: no policy isolates it",
        "3. ingress of shop/db: isolated by NetworkPolicy shop/db; no rule admits it",
        "   NetworkPolicy shop/db spec.ingress[0]: from[0].podSelector: podSelector app=api: pod shop/web has app=web",
        "   NetworkPolicy shop/db spec.ingress[1]: ports[0]: port TCP 5432 is not TCP 1",
        "4. denied by the ingress of shop/db",
    )
    allowed, _ = decide(cluster(closed), "shop/api", "shop/db", "TCP 5432")
    assert lines(allowed)[2:] == (
        "3. ingress of shop/db: isolated by NetworkPolicy shop/db; NetworkPolicy shop/db spec.ingress[0] admits it",
        "4. allowed",
    )


def test_hostile_names_and_labels_cannot_write_to_a_terminal() -> None:
    hostile = changed("shop/web", name="web\x1b[2J\n4. allowed", labels={"app": "\x1b]0;x\x07"})
    fault = Fault(FAULT.object, ("spec", "\x1b[2J\n4. allowed"), "is not a field")
    broken = policy("shop/broken", DB, ingress=Side(faults=(fault,)))
    closed = policy("shop/db", DB, ingress=[rule([pods("app=api")])])
    decision, _ = decide(
        cluster(closed, broken, pods=hostile), "shop/web\x1b[2J\n4. allowed", "shop/db", "TCP 1"
    )
    assert all(line.isprintable() for line in lines(decision))


def test_an_end_of_another_state_of_the_cluster_is_refused() -> None:
    before = cluster()
    traffic = traffic_between(before, PODS[0].addresses[0], ip_address("10.9.9.9"), Protocol.TCP, 80)
    with pytest.raises(InvalidField, match="source"):
        judge(cluster(pods=changed("shop/web", labels={})), traffic)


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port"),
    [
        ("10.0.0.1", "fd00::1", Protocol.TCP, 80),
        ("10.0.0.1", "10.0.0.2", Protocol.TCP, None),
        ("10.0.0.1", "10.0.0.2", Protocol.UDP, -1),
        ("10.0.0.1", "10.0.0.2", Protocol.SCTP, 65536),
        ("10.0.0.1", "10.0.0.2", 1, 80),
        ("10.0.0.1", "10.0.0.2", 6, None),
        ("10.0.0.1", "10.0.0.2", 256, None),
    ],
)
def test_traffic_that_cannot_be_a_packet_is_refused(
    source: str, destination: str, protocol: Protocol | int, port: int | None
) -> None:
    with pytest.raises(InvalidField):
        traffic_between(cluster(), ip_address(source), ip_address(destination), protocol, port)


def test_isolating_policies_are_those_that_select_the_pod_in_that_direction() -> None:
    state = cluster(
        policy("shop/b", DB, ingress=[]),
        policy("shop/a", EVERYTHING, ingress=[], egress=[]),
        policy("ops/c", EVERYTHING, ingress=[]),
        policy("shop/d", labels("app=web"), egress=[]),
    )
    database = PODS[2]
    assert [policy.name for policy in isolating(state, database, Direction.INGRESS)] == ["a", "b"]
    assert [policy.name for policy in isolating(state, database, Direction.EGRESS)] == ["a"]
