"""A pod network made of network namespaces: nodes, pods and hosts outside, on one machine.

Knows links, addresses and routes. Knows nothing of policies, nft rule sets or the Kubernetes API:
whoever uses it starts an enforcer in a node and probes from a pod, as on a real cluster.
"""

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.inhabitants import Node, OutsideHost, Pod
from policy_controller.testing.laboratory.laboratory import Laboratory, Masquerade
from policy_controller.testing.laboratory.netns import LaboratoryError, inside
from policy_controller.testing.laboratory.ownership import sweep
from policy_controller.testing.laboratory.podnetwork import NetworkKind

__all__ = [
    "Address",
    "Laboratory",
    "LaboratoryError",
    "Masquerade",
    "NetworkKind",
    "Node",
    "OutsideHost",
    "Pod",
    "inside",
    "sweep",
]
