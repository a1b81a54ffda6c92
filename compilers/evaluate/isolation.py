"""Isolation: which policies stand before a gate of a pod.

Knows subjects and directions. Knows nothing of what the policies admit.
"""

from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy
from compilers.model.settings import Enforcement
from compilers.model.words import Direction


def isolating(cluster: Cluster, pod: Pod, direction: Direction) -> tuple[NetworkPolicy, ...]:
    """The policies that isolate the pod in this direction, in the cluster's order; none: the gate is open.

    Kubernetes, "Network Policies": "By default, a pod is non-isolated for egress; all outbound connections are
    allowed. A pod is isolated for egress if there is any NetworkPolicy that both selects the pod and has "Egress" in
    its policyTypes"; and the same for ingress.
    """
    if cluster.settings.enforcement is Enforcement.OFF:
        return ()
    if not pod.has_gates or cluster.is_operator(pod):
        # A hostNetwork pod has its node's network, and a pod that has ended has none. The operator's own pods have
        # gates that stay open whatever policies say: closed ones could never be told to open again.
        return ()
    return tuple(
        policy
        for policy in cluster.policies
        # `sides` holds exactly the directions of policyTypes, its default applied, so that the rules of a direction
        # which is not among them have no effect.
        if direction in policy.sides and policy.selects(pod.namespace, pod.labels)
    )
