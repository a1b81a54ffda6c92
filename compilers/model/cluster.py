"""Pods, namespaces, nodes, and one cluster state made of them.

Knows who is a member of selector peers and who owns an address. Knows nothing of rules or of nft.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from compilers.model.faults import ObjectRef
from compilers.model.policy import NetworkPolicy
from compilers.model.port import NamedPort
from compilers.model.settings import DEFAULTS, ClusterSettings, ExistingConnections
from compilers.model.words import Address

NAME_LABEL: Final = "kubernetes.io/metadata.name"
OS_LABEL: Final = "kubernetes.io/os"


class Phase(enum.Enum):
    """core/v1 PodStatus.phase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


class PodNetwork(enum.Enum):
    """Whose network a pod uses: one of its own, or its node's (`hostNetwork: true`)."""

    POD = "pod"
    HOST = "host"


class Ending(enum.Enum):
    """Whether a pod has been asked to end (`metadata.deletionTimestamp`); until it has ended it is still subject."""

    NO = "no"
    TERMINATING = "terminating"


class OperatingSystem(enum.Enum):
    """What a node runs: Linux, whose kernels have nftables, or anything else."""

    LINUX = "linux"
    OTHER = "other"


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """The controller that owns a pod; a bare pod is its own workload."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A core/v1 ServiceAccount: as whom the processes of a pod speak to the API server."""

    namespace: str
    name: str


OPERATOR: Final = ServiceAccount("policy-controller", "policy-controller")
"""The account that the operator runs as, unless it was installed under another."""

DEFAULT_ACCOUNT: Final = "default"
"""Kubernetes, "Service Accounts": a pod that names none "is assigned the `default` service account in its namespace"."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The parts of a core/v1 Pod that decide about its traffic.

    `node` is None until it is scheduled; `addresses` is every entry of `status.podIPs`, sorted, none yet while only
    bound; `created` is the creationTimestamp as the API writes it (RFC 3339 in UTC, so it sorts as text). `account` is the
    name of its service account, "" when that cannot be read: neither it nor the namespace ever changes in a pod's life.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(hash=False)
    node: str | None
    addresses: tuple[Address, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    phase: Phase = Phase.RUNNING
    network: PodNetwork = PodNetwork.POD
    ending: Ending = Ending.NO
    created: str = ""
    workload: Workload | None = None
    account: str = DEFAULT_ACCOUNT

    @property
    def ref(self) -> ObjectRef:
        """Kind, namespace and name."""
        return ObjectRef("Pod", self.namespace, self.name)

    @property
    def has_gates(self) -> bool:
        """Whether it is met at addresses of its own: it has a network of its own and has not ended."""
        return self.network is PodNetwork.POD and self.phase not in ENDED

    @property
    def is_member(self) -> bool:
        """Whether it can be a member of a selector peer: it has gates and an address."""
        return self.has_gates and bool(self.addresses)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A core/v1 Namespace; the label with its name is always there (the API server sets it, so do we).

    `existing_connections` is what it chooses for its pods; None where it leaves that to the cluster.
    """

    name: str
    labels: Mapping[str, str] = field(hash=False)
    uid: str = ""
    existing_connections: ExistingConnections | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", dict(self.labels) | {NAME_LABEL: self.name})


@dataclass(frozen=True, slots=True)
class Node:
    """A core/v1 Node with every address it reports, and what it runs."""

    name: str
    addresses: tuple[Address, ...] = ()
    system: OperatingSystem = OperatingSystem.LINUX


@dataclass(frozen=True)
class Cluster:
    """One state of a cluster. Equal whatever the order its objects came in; every collection is sorted."""

    namespaces: Mapping[str, Namespace] = field(default_factory=dict, hash=False)
    pods: tuple[Pod, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    nodes: Mapping[str, Node] = field(default_factory=dict, hash=False)
    operator: ServiceAccount = OPERATOR
    """As whom the operator of this cluster runs; the pods that do are never isolated."""
    settings: ClusterSettings = DEFAULTS

    @classmethod
    def of(
        cls,
        namespaces: Iterable[Namespace] = (),
        pods: Iterable[Pod] = (),
        policies: Iterable[NetworkPolicy] = (),
        nodes: Iterable[Node] = (),
        operator: ServiceAccount = OPERATOR,
        settings: ClusterSettings = DEFAULTS,
    ) -> "Cluster":
        """A cluster state of these objects, in canonical order."""
        return cls(
            namespaces={item.name: item for item in sorted(namespaces, key=lambda item: item.name)},
            pods=tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name, pod.uid))),
            policies=tuple(sorted(policies, key=lambda policy: (policy.namespace, policy.name, policy.uid))),
            nodes={item.name: item for item in sorted(nodes, key=lambda item: item.name)},
            operator=operator,
            settings=settings,
        )

    def is_operator(self, pod: Pod) -> bool:
        """Whether the pod is one of the operator's own, which no policy can isolate.

        By the account and not by labels, since policies are written about labels and a pod may carry any. Whoever may
        make a pod that runs as this account has all that the operator may do, so this gives nothing away.
        """
        return pod.account == self.operator.name and pod.namespace == self.operator.namespace

    @cached_property
    def owners(self) -> Mapping[Address, Pod]:
        """Which pod each pod address belongs to.

        Two pods may report one address while it is reused. It then belongs to one of them alone, so that the
        permissions of both are never merged: to one that is not terminating before one that is, then to the younger.
        """
        owners: dict[Address, Pod] = {}
        for pod in sorted((pod for pod in self.pods if pod.is_member), key=_claim):
            for address in pod.addresses:
                owners[address] = pod
        return owners

    @cached_property
    def conflicts(self) -> tuple[tuple[Address, tuple[Pod, ...]], ...]:
        """Addresses that several live pods report, each with those pods, the owner last."""
        claims: dict[Address, list[Pod]] = {}
        for pod in sorted((pod for pod in self.pods if pod.is_member), key=_claim):
            for address in pod.addresses:
                claims.setdefault(address, []).append(pod)
        return tuple(
            (address, tuple(pods))
            for address, pods in sorted(claims.items(), key=lambda item: (item[0].version, int(item[0])))
            if len(pods) > 1
        )

    @cached_property
    def node_of_address(self) -> Mapping[Address, str]:
        """Which node each node address belongs to: those the nodes report and those of their hostNetwork pods."""
        nodes: dict[Address, str] = {}
        for pod in self.pods:
            if pod.network is PodNetwork.HOST and pod.node is not None and pod.phase not in ENDED:
                nodes.update(dict.fromkeys(pod.addresses, pod.node))
        for node in self.nodes.values():
            nodes.update(dict.fromkeys(node.addresses, node.name))
        return nodes

    @cached_property
    def other_nodes(self) -> frozenset[str]:
        """Nodes that run something else than Linux. Nothing is enforced there; their pods are peers as all others."""
        return frozenset(
            node.name for node in self.nodes.values() if node.system is not OperatingSystem.LINUX
        )

    def addresses_of(self, pod: Pod) -> tuple[Address, ...]:
        """The addresses that the pod owns: those it reports less those that belong to another pod."""
        if not pod.is_member:
            return ()
        return tuple(address for address in pod.addresses if self.owners[address] is pod)

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The namespace's labels; None when the namespace is not known, and then no namespaceSelector selects it."""
        namespace = self.namespaces.get(name)
        return None if namespace is None else namespace.labels

    def existing_connections_in(self, name: str) -> ExistingConnections:
        """What becomes of open connections of a namespace's pods that a change denies at one of their gates."""
        namespace = self.namespaces.get(name)
        chosen = None if namespace is None else namespace.existing_connections
        return self.settings.existing_connections if chosen is None else chosen


def _claim(pod: Pod) -> tuple[bool, str, str]:
    return (pod.ending is Ending.NO, pod.created, pod.uid)
