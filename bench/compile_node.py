"""`compile`: from a cluster state in memory to a node's rule set, from scratch, and to what nft is told.

A node has a hundred pods in each cluster, so what grows is only what the node is not concerned with.
"""

from functools import partial
from typing import Final

from bench.clusters import cluster
from bench.measure import MILLISECONDS, Measured, median, repeated, without_collections
from bench.tables import BASE
from compilers.compile.compiler import Compiler, compile_nodes
from compilers.model.cluster import Cluster
from compilers.nftables.plan import plan
from compilers.nftables.render import render, render_empty
from compilers.ruleset.rule_set import RuleSet

SIZES: Final = {"1k": 1_000, "10k": 10_000}
NODE: Final = "node-0"
ROUNDS: Final = 9


def measure() -> Measured:
    """Medians for a node of a cluster of each size, and for all ten nodes of the smaller."""
    metrics: dict[str, float] = {}
    states = {word: cluster(pods) for word, pods in SIZES.items()}
    with without_collections():
        for word, state in states.items():
            metrics[f"node_of_{word}_pods_ms"] = median(
                repeated(partial(_rule_set, state), ROUNDS), MILLISECONDS
            )
        small, large = states["1k"], states["10k"]
        metrics["all_nodes_of_1k_pods_ms"] = median(
            repeated(partial(compile_nodes, small), ROUNDS), MILLISECONDS
        )
        rule_set = _rule_set(large)
        desired = render(rule_set, BASE)
        metrics["render_ms"] = median(repeated(partial(render, rule_set, BASE), ROUNDS), MILLISECONDS)
        metrics["plan_from_empty_ms"] = median(
            repeated(partial(plan, render_empty(BASE), desired), ROUNDS), MILLISECONDS
        )
    return Measured("compile", metrics)


def _rule_set(state: Cluster) -> RuleSet:
    return Compiler(state).node(NODE)
