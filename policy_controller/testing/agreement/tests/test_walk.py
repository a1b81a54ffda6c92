"""Evaluator and compiled tables agree, on generated clusters and on the whole truth table."""

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.model.cluster import Cluster
from policy_controller.testing.agreement.tests.scene import BASE, Record
from policy_controller.testing.agreement.walk import ClusterWalk
from policy_controller.testing.generators import random_cluster, traffic_of, truth_table

CLUSTERS = 2_000
SHARES = 4
"""The clusters are tried in this many tests, so that two workers share them."""

CHOICES = st.randoms(use_true_random=False)
LONG = settings(deadline=None, suppress_health_check=list(HealthCheck))


def compare(cluster: Cluster, rng: Random, seen: Counter[Verdict]) -> None:
    walk = ClusterWalk(cluster, BASE)
    for traffic in traffic_of(cluster, rng):
        decision = judge(cluster, traffic)
        assert walk.verdict(traffic) is decision.verdict, f"{traffic}\n{decision}\n{walk.walk(traffic)}"
        seen[decision.verdict] += 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES), ids=lambda number: f"share {number}")
def test_evaluator_and_walk_agree_on_every_pair_of_generated_clusters(
    share: int, record_property: Record
) -> None:
    seen: Counter[Verdict] = Counter()
    clusters = 0

    @settings(LONG, max_examples=CLUSTERS // SHARES)
    @given(CHOICES)
    def agree(rng: Random) -> None:
        nonlocal clusters
        compare(random_cluster(rng), rng, seen)
        clusters += 1

    agree()
    assert clusters >= CLUSTERS // SHARES
    assert min(seen[Verdict.ALLOWED], seen[Verdict.DENIED]) > 1000, "one verdict is hardly tried"
    record_property("clusters, evaluator == walk", clusters)
    record_property("connections, evaluator == walk", seen.total())


def test_evaluator_and_walk_give_the_verdict_of_every_row_of_the_truth_table(record_property: Record) -> None:
    rows = 0
    for case in truth_table():
        walk = ClusterWalk(case.cluster, BASE)
        for traffic, expected in case.expected:
            assert judge(case.cluster, traffic).verdict is expected, f"{case.name}: {traffic}"
            assert walk.verdict(traffic) is expected, f"{case.name}: {traffic}\n{walk.walk(traffic)}"
            rows += 1
    record_property("truth table rows, evaluator == walk", rows)


@LONG
@given(CHOICES)
def test_the_class_that_drops_a_packet_names_the_policies_that_isolate(rng: Random) -> None:
    cluster = random_cluster(rng)
    walk = ClusterWalk(cluster, BASE)
    for traffic in traffic_of(cluster, rng, services_each=1):
        decision = judge(cluster, traffic)
        assert walk.walk(traffic).policies == decision.policies, str(traffic)


@LONG
@given(CHOICES)
def test_the_order_of_objects_does_not_change_any_node(rng: Random) -> None:
    cluster = random_cluster(rng)
    parts = [
        list(part)
        for part in (cluster.namespaces.values(), cluster.pods, cluster.policies, cluster.nodes.values())
    ]
    for part in parts:
        rng.shuffle(part)
    namespaces, pods, policies, nodes = parts
    shuffled = Cluster.of(namespaces, pods, policies, nodes)  # type: ignore[arg-type]  # shuffled lists of each kind
    assert compile_nodes(shuffled) == compile_nodes(cluster)
