"""A generated cluster written as API objects is read back as the same cluster."""

import json
from dataclasses import replace

from compilers.model.cluster import Cluster
from compilers.model.faults import Fault
from compilers.model.policy import NetworkPolicy, Side
from compilers.parse.cluster import parse_cluster
from compilers.parse.source import read_documents
from policy_controller.testing.generators import api_objects, random_cluster, seeded

SEEDS = range(300)


def _unworded(cluster: Cluster) -> Cluster:
    """The cluster with the same fault on every closed side: which words a parser finds is its own affair."""

    def side(policy: NetworkPolicy, found: Side) -> Side:
        return Side(found.rules, (Fault(policy.ref, (), "closed"),) if found.faults else ())

    policies = [
        replace(policy, sides={key: side(policy, found) for key, found in policy.sides.items()}, faults=())
        for policy in cluster.policies
    ]
    return Cluster.of(cluster.namespaces.values(), cluster.pods, policies, cluster.nodes.values())


def test_api_objects_are_read_back_as_the_same_cluster() -> None:
    for seed in SEEDS:
        cluster = random_cluster(seeded(seed))
        text = json.dumps({"kind": "List", "apiVersion": "v1", "items": api_objects(cluster)})
        parsed = parse_cluster(read_documents(text, "generated.json").documents)
        assert _unworded(parsed.cluster) == _unworded(cluster)
        closed = {
            policy.ref for policy in cluster.policies if any(side.faults for side in policy.sides.values())
        }
        assert {fault.object for fault in parsed.faults} == closed
