"""Enforcement switched off: no table of a generated cluster stops anything, and back again nothing is left of it."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compilers.compile import Compiler
from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Outcome, Verdict
from compilers.evaluate.judge import judge
from compilers.model.cluster import Cluster
from compilers.model.settings import ClusterSettings, Enforcement
from compilers.nftables.render import render, render_empty
from compilers.ruleset.delta import apply, difference
from compilers.ruleset.digest import digest_of
from policy_controller.testing.agreement.tests.scene import BASE, Record
from policy_controller.testing.agreement.walk import ClusterWalk
from policy_controller.testing.generators import random_cluster, traffic_of

CLUSTERS = 25
"""In each test."""
CHOICES = st.randoms(use_true_random=False)
LONG = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=CLUSTERS)


def off(cluster: Cluster) -> Cluster:
    return replace(cluster, settings=ClusterSettings(Enforcement.OFF))


def test_evaluator_and_walk_allow_every_connection_while_off(record_property: Record) -> None:
    seen: Counter[Verdict] = Counter()

    @LONG
    @given(CHOICES)
    def agree(rng: Random) -> None:
        cluster = random_cluster(rng)
        walk = ClusterWalk(off(cluster), BASE)
        for traffic in traffic_of(cluster, rng, services_each=1):
            decision = judge(off(cluster), traffic)
            assert decision.verdict is Verdict.ALLOWED, str(traffic)
            gates = {gate.outcome for gate in decision.gates.values()}
            assert gates <= {Outcome.OFF, Outcome.NOT_A_POD}
            assert walk.verdict(traffic) is Verdict.ALLOWED, f"{traffic}\n{walk.walk(traffic)}"
            seen[judge(cluster, traffic).verdict] += 1

    agree()
    assert seen[Verdict.DENIED] > 100, "hardly any of it was denied before"
    record_property("connections allowed while off, evaluator == walk", seen.total())
    record_property("of them denied while enforced", seen[Verdict.DENIED])


@LONG
@given(CHOICES)
def test_a_table_that_is_off_is_the_base_that_knows_its_pods(rng: Random) -> None:
    cluster = random_cluster(rng)
    unselected = compile_nodes(replace(cluster, policies=()))
    for node, rule_set in compile_nodes(off(cluster)).items():
        assert replace(rule_set, enforcement=Enforcement.ENFORCED) == unselected[node]
        tables, empty = render(rule_set, BASE), render_empty(BASE)
        assert [one.chains for one in tables.each()] == [one.chains for one in empty.each()]
        assert tables.inet.maps == empty.inet.maps


@LONG
@given(CHOICES)
def test_off_and_back_again_gives_the_bytes_of_never_off(rng: Random) -> None:
    cluster = random_cluster(rng)
    for node in cluster.nodes:
        never = Compiler(cluster).node(node)
        switched = Compiler(off(cluster)).node(node)
        back = Compiler(replace(off(cluster), settings=cluster.settings)).node(node)
        applied = apply(difference(switched, back), apply(difference(never, switched), never))
        assert applied == never
        assert digest_of(applied) == digest_of(never) != digest_of(switched)
