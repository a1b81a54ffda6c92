"""Whose open connections end with what a change denies: what a namespace chooses, else what is set for the cluster."""

from dataclasses import replace

import pytest

from compilers.compile import Compiler
from compilers.evaluate.tests.stage import PODS, cluster, labels, policy
from compilers.model.settings import ClusterSettings, ExistingConnections
from compilers.ruleset.digest import digest_of

KEEP, CUT = ExistingConnections.KEEP, ExistingConnections.CUT
WEB = PODS[0]
CLOSED = policy("shop/closed", labels("app=web"), ingress=[])


@pytest.mark.parametrize(
    ("of_cluster", "of_namespace", "expected"),
    [
        (KEEP, None, KEEP),
        (KEEP, KEEP, KEEP),
        (KEEP, CUT, CUT),
        (CUT, None, CUT),
        (CUT, KEEP, KEEP),
        (CUT, CUT, CUT),
    ],
)
def test_a_namespace_decides_for_its_pods_and_else_the_cluster_does(
    of_cluster: ExistingConnections, of_namespace: ExistingConnections | None, expected: ExistingConnections
) -> None:
    state = cluster(CLOSED)
    chosen = {
        name: replace(one, existing_connections=of_namespace if name == "shop" else CUT)
        for name, one in state.namespaces.items()
    }
    settings = ClusterSettings(existing_connections=of_cluster)
    rule_set = Compiler(replace(state, namespaces=chosen, settings=settings)).node("node-a")

    assert rule_set.pods[WEB.uid].existing is expected
    # A pod that nobody isolates is denied nothing.
    assert {pod.existing for uid, pod in rule_set.pods.items() if uid != WEB.uid} == {KEEP}


def test_a_choice_is_in_the_digest() -> None:
    state = cluster(CLOSED)
    cut = replace(state, settings=ClusterSettings(existing_connections=CUT))
    assert digest_of(Compiler(state).node("node-a")) != digest_of(Compiler(cut).node("node-a"))
