"""What chance makes: repeatable, varied enough to reach every feature, and judged without exceptions."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compilers.evaluate.decision import Outcome, Verdict
from compilers.evaluate.ends import NodeEnd, OutsideEnd, PodEnd
from compilers.evaluate.judge import judge
from compilers.model.block import IpBlock
from compilers.model.cluster import ENDED, Cluster, Ending, Phase, PodNetwork
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector, Operator
from compilers.model.words import Direction, Family, Protocol
from policy_controller.testing.generators import Shape, random_cluster, seeded, traffic_of

SEEDS = range(400)


@pytest.fixture(scope="module")
def clusters() -> list[Cluster]:
    return [random_cluster(seeded(seed)) for seed in SEEDS]


def _sides(cluster: Cluster) -> list[Side]:
    return [side for policy in cluster.policies for side in policy.sides.values()]


def _rules(cluster: Cluster) -> list[PolicyRule]:
    return [rule for side in _sides(cluster) for rule in side.rules]


def _peers(cluster: Cluster) -> list[Peer]:
    return [peer for rule in _rules(cluster) for peer in rule.peers or ()]


def _ports(cluster: Cluster) -> list[PortMatch]:
    return [port for rule in _rules(cluster) for port in rule.ports or ()]


def _blocks(cluster: Cluster) -> list[IpBlock]:
    return [peer for peer in _peers(cluster) if isinstance(peer, IpBlock)]


def _selectors(cluster: Cluster) -> list[LabelSelector]:
    peers = [peer for peer in _peers(cluster) if isinstance(peer, SelectorPeer)]
    found = [policy.subject for policy in cluster.policies]
    found += [selector for peer in peers for selector in (peer.pod_selector, peer.namespace_selector)]
    return [selector for selector in found if selector is not None]


def _uses(operator: Operator, cluster: Cluster) -> bool:
    return any(
        item.operator is operator for selector in _selectors(cluster) for item in selector.match_expressions
    )


FEATURES: dict[str, Callable[[Cluster], bool]] = {
    "four namespaces": lambda c: len(c.namespaces) == 4,
    "no policy": lambda c: not c.policies,
    "eight policies": lambda c: len(c.policies) == 8,
    "dual stack": lambda c: any(len(pod.addresses) == 2 for pod in c.pods if pod.is_member),
    "IPv4 only": lambda c: any([a.version for a in pod.addresses] == [4] for pod in c.pods),
    "IPv6 only": lambda c: any([a.version for a in pod.addresses] == [6] for pod in c.pods),
    "hostNetwork": lambda c: any(pod.network is PodNetwork.HOST for pod in c.pods),
    "bound without address": lambda c: any(pod.node and not pod.addresses for pod in c.pods),
    "unscheduled": lambda c: any(pod.node is None for pod in c.pods),
    "succeeded with an address": lambda c: any(p.phase is Phase.SUCCEEDED and p.addresses for p in c.pods),
    "failed": lambda c: any(pod.phase is Phase.FAILED for pod in c.pods),
    "terminating": lambda c: any(p.ending is Ending.TERMINATING and p.is_member for p in c.pods),
    "conflict": lambda c: bool(c.conflicts),
    "an ended pod's address reused": lambda c: any(
        address in c.owners for pod in c.pods if pod.phase in ENDED for address in pod.addresses
    ),
    "one name, two numbers": lambda c: any(
        max(Counter((port.name, port.protocol) for port in pod.ports).values(), default=0) > 1
        for pod in c.pods
    ),
    "one name, two protocols": lambda c: any(
        len({port.protocol for port in pod.ports if port.name == "http"}) > 1 for pod in c.pods
    ),
    "closed side": lambda c: any(side.faults for side in _sides(c)),
    "unreadable subject": lambda c: any(policy.subject is None for policy in c.policies),
    "side without rules": lambda c: any(not side.rules and not side.faults for side in _sides(c)),
    "both directions": lambda c: any(len(policy.sides) == 2 for policy in c.policies),
    "egress alone": lambda c: any(set(p.sides) == {Direction.EGRESS} for p in c.policies),
    "absent peers": lambda c: any(rule.peers is None for rule in _rules(c)),
    "empty peers": lambda c: any(rule.peers == () for rule in _rules(c)),
    "absent ports": lambda c: any(rule.ports is None for rule in _rules(c)),
    "empty ports": lambda c: any(rule.ports == () for rule in _rules(c)),
    "protocol alone": lambda c: any(port.port is None for port in _ports(c)),
    "endPort": lambda c: any(port.end_port for port in _ports(c)),
    "named port": lambda c: any(isinstance(port.port, str) for port in _ports(c)),
    "SCTP": lambda c: any(port.protocol is Protocol.SCTP for port in _ports(c)),
    "except": lambda c: any(block.excepts for block in _blocks(c)),
    "overlapping excepts": lambda c: any(
        len(set(b.excepts)) == 2 and b.excepts[0].overlaps(b.excepts[1]) for b in _blocks(c)
    ),
    "block on a pod": lambda c: any(block.contains(a) for block in _blocks(c) for a in c.owners),
    "block on a node": lambda c: any(block.contains(a) for block in _blocks(c) for a in c.node_of_address),
    "both selectors": lambda c: any(
        isinstance(p, SelectorPeer) and p.pod_selector is not None and p.namespace_selector is not None
        for p in _peers(c)
    ),
    "empty selector": lambda c: EVERYTHING in _selectors(c),
    **{operator.value: partial(_uses, operator) for operator in Operator},
}


@pytest.mark.parametrize("feature", FEATURES)
def test_chance_reaches_every_feature_often(feature: str, clusters: list[Cluster]) -> None:
    assert sum(FEATURES[feature](cluster) for cluster in clusters) >= len(clusters) // 50


def test_same_seed_gives_the_same_cluster_and_the_same_traffic(clusters: list[Cluster]) -> None:
    for seed in SEEDS[:40]:
        again = random_cluster(seeded(seed))
        assert again == clusters[seed]
        first, second = (list(traffic_of(again, seeded(seed))) for _ in range(2))
        assert first == second


def test_traffic_meets_every_kind_of_end_outcome_and_service(clusters: list[Cluster]) -> None:
    seen: Counter[object] = Counter()
    for cluster in clusters[:60]:
        for traffic in traffic_of(cluster, seeded(1), services_each=1):
            decision = judge(cluster, traffic)
            seen[decision.verdict] += 1
            seen.update(type(end) for end in (traffic.source, traffic.destination))
            seen.update((gate.direction, gate.outcome) for gate in decision.gates.values())
            seen.update((traffic.family, traffic.protocol))
    # No generated cluster has enforcement off.
    outcomes = {(direction, outcome) for direction in Direction for outcome in Outcome} - {
        (direction, Outcome.OFF) for direction in Direction
    }
    expected = {*Verdict, PodEnd, NodeEnd, OutsideEnd, *Family, *Protocol, *outcomes}
    assert expected - {(Direction.EGRESS, Outcome.OWN_NODE)} <= set(seen)
    # Neither verdict may be so rare that comparing two judges says little.
    assert min(seen[verdict] for verdict in Verdict) > sum(seen[verdict] for verdict in Verdict) // 5


def test_unknown_namespaces_come_only_when_asked_for() -> None:
    shape = Shape(unknown_namespaces=2)
    odd = [random_cluster(seeded(seed), shape) for seed in SEEDS]
    assert any({pod.namespace for pod in cluster.pods} - set(cluster.namespaces) for cluster in odd)


RANDOMS = st.randoms(use_true_random=False)
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(RANDOMS)
def test_a_rule_more_never_denies_and_a_rule_less_never_allows(rng: Random) -> None:
    # Kubernetes: "they are additive".
    cluster = random_cluster(rng)
    opened = replace_sides(
        cluster, lambda side: side if side.faults else Side((*side.rules, PolicyRule(None, None)))
    )
    closed = replace_sides(cluster, lambda side: Side(side.rules[1:], side.faults))
    for traffic in traffic_of(cluster, rng, services_each=1):
        verdict = judge(cluster, traffic).verdict
        if verdict is Verdict.ALLOWED:
            assert judge(opened, traffic).verdict is Verdict.ALLOWED
        else:
            assert judge(closed, traffic).verdict is Verdict.DENIED


@SLOW
@given(RANDOMS)
def test_a_verdict_is_the_same_whatever_the_order_of_policies_and_rules(rng: Random) -> None:
    cluster = random_cluster(rng)
    turned = replace_sides(cluster, lambda side: Side(side.rules[::-1], side.faults))
    renamed = Cluster.of(
        cluster.namespaces.values(),
        cluster.pods,
        [replace(policy, name=f"n{-index}") for index, policy in enumerate(turned.policies)],
        cluster.nodes.values(),
    )
    for traffic in traffic_of(cluster, rng, services_each=1):
        assert judge(renamed, traffic).verdict is judge(cluster, traffic).verdict


def replace_sides(cluster: Cluster, change: Callable[[Side], Side]) -> Cluster:
    def changed(policy: NetworkPolicy) -> NetworkPolicy:
        return replace(policy, sides={direction: change(side) for direction, side in policy.sides.items()})

    return replace(cluster, policies=tuple(changed(policy) for policy in cluster.policies))
