"""Random clusters: namespaces, nodes, and pods in every state that decides about membership.

Knows the model and chance. Every choice comes from the `Random` given, simple ones first: the same seed gives the
same cluster, and a generator that shrinks (hypothesis `st.randoms(use_true_random=False)`) shrinks the cluster.
"""

import enum
from dataclasses import dataclass
from random import Random
from typing import Final

from compilers.model.cluster import Cluster, Ending, Namespace, Node, Phase, Pod, PodNetwork, Workload
from compilers.model.port import NamedPort
from compilers.model.words import Address, Protocol
from policy_controller.testing.generators.policies import random_policy
from policy_controller.testing.generators.vocabulary import (
    ACCOUNTS,
    NAMESPACE_LABELS,
    NAMESPACES,
    NODES,
    POD_LABELS,
    PORT_NAMES,
    PORT_NUMBERS,
    rarely,
    some_labels,
)
from policy_controller.testing.laboratory.addresses import node_addresses, pod_networks

FIRST_HOST: Final = 11
"""The host number of a node's first pod; below lie gateways."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a cluster may become; each is the largest number.

    `unknown_namespaces`: namespaces that have pods and policies, but no Namespace object. An API server would refuse
    such a state, a watcher sees it while events are under way.
    """

    namespaces: int = 4
    pods: int = 10
    policies: int = 8
    unknown_namespaces: int = 0


class Kind(enum.Enum):
    """The state a pod is in."""

    DUAL = "both families"
    IPV4 = "IPv4 only"
    IPV6 = "IPv6 only"
    TERMINATING = "asked to end, still running"
    HOST = "uses its node's network"
    BOUND = "bound to its node, no address yet"
    UNSCHEDULED = "no node yet"
    SUCCEEDED = "has ended well"
    FAILED = "has ended badly"
    REUSING = "reports the addresses of another pod"


KINDS: Final = (*[Kind.DUAL] * 6, *Kind)
"""Every kind, and the plain one most often."""

PHASES: Final = {
    Kind.BOUND: Phase.PENDING,
    Kind.UNSCHEDULED: Phase.PENDING,
    Kind.SUCCEEDED: Phase.SUCCEEDED,
    Kind.FAILED: Phase.FAILED,
}


def random_cluster(rng: Random, shape: Shape | None = None) -> Cluster:
    """A cluster of two nodes within the shape, addressed as the laboratory addresses its own."""
    shape = shape or Shape()
    nodes = tuple(Node(name, node_addresses(index)) for index, name in enumerate(NODES, start=1))
    names = NAMESPACES[: rng.randint(1, min(shape.namespaces, len(NAMESPACES)))]
    unknown = names[len(names) - rng.randint(0, min(shape.unknown_namespaces, len(names) - 1)) :]
    namespaces = [Namespace(name, some_labels(rng, NAMESPACE_LABELS), f"uid-{name}") for name in names]
    pods: list[Pod] = []
    for number in range(rng.randint(2, max(2, shape.pods))):
        pods.append(_pod(rng, rng.choice(names), number, nodes, pods))
    policies = [
        random_policy(rng, rng.choice(names), f"policy-{number}", pods)
        for number in range(rng.randint(0, shape.policies))
    ]
    return Cluster.of([item for item in namespaces if item.name not in unknown], pods, policies, nodes)


def _pod(rng: Random, namespace: str, number: int, nodes: tuple[Node, ...], others: list[Pod]) -> Pod:
    kind = rng.choice(KINDS)
    node = rng.choice(nodes)
    name = f"pod-{number}"
    return Pod(
        namespace=namespace,
        name=name,
        uid=f"uid-{namespace}-{name}",
        labels=some_labels(rng, POD_LABELS),
        node=None if kind is Kind.UNSCHEDULED else node.name,
        addresses=_addresses(rng, kind, node, number, others),
        ports=tuple(sorted({_named_port(rng) for _ in range(rng.randint(0, 3))})),
        phase=PHASES.get(kind, Phase.RUNNING),
        network=PodNetwork.HOST if kind is Kind.HOST else PodNetwork.POD,
        ending=Ending.TERMINATING if kind is Kind.TERMINATING or rarely(rng, 12) else Ending.NO,
        # In no order of their numbers, so that neither the older nor the younger pod is always the first.
        created=f"2024-01-01T00:{rng.randrange(60):02d}:{number:02d}Z",
        workload=Workload("StatefulSet", f"set-{number}") if rarely(rng, 3) else None,
        account=rng.choice(ACCOUNTS),
    )


def _addresses(rng: Random, kind: Kind, node: Node, number: int, others: list[Pod]) -> tuple[Address, ...]:
    ipv4, ipv6 = (network[FIRST_HOST + number] for network in pod_networks(NODES.index(node.name) + 1))
    match kind:
        case Kind.HOST:
            return node.addresses
        case Kind.BOUND | Kind.UNSCHEDULED:
            return ()
        case Kind.IPV4:
            return (ipv4,)
        case Kind.IPV6:
            return (ipv6,)
        case Kind.REUSING | Kind.SUCCEEDED | Kind.FAILED:
            # An address is reused on its own node only; a pod that has ended may still report one that is.
            reusable = [
                pod.addresses for pod in others if pod.node == node.name and pod.addresses != node.addresses
            ]
            return rng.choice([addresses for addresses in reusable if addresses] or [(ipv4, ipv6)])
        case Kind.DUAL | Kind.TERMINATING:
            return (ipv4, ipv6)


def _named_port(rng: Random) -> NamedPort:
    return NamedPort(rng.choice(PORT_NAMES), rng.choice(tuple(Protocol)).value, rng.choice(PORT_NUMBERS))
