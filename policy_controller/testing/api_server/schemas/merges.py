"""How lists and objects of the API's types are merged, where that is not by replacing them.

Three questions have one answer here: which key a strategic merge patch matches items by, which keys tell items apart
for server-side apply, and what a field manager owns only as a whole. Source: the `patchMergeKey`, `listType`,
`listMapKey` and `mapType` marks of the API reference.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class ListKind(enum.Enum):
    """`x-kubernetes-list-type`."""

    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class ListMerge:
    """How a list is merged.

    `patch_key` is the key of a strategic merge patch, "" when a patch replaces the list; `keys` tell the items of a
    MAP apart for server-side apply, `defaults` stand in for keys that an item leaves out; `retains_keys` lists take
    `$retainKeys` in their items.
    """

    kind: ListKind
    patch_key: str = ""
    keys: tuple[str, ...] = ()
    defaults: tuple[tuple[str, object], ...] = ()
    merges_values: bool = False
    retains_keys: bool = False


REPLACED: Final = ListMerge(ListKind.ATOMIC)
VALUES: Final = ListMerge(ListKind.SET, merges_values=True)


def by(key: str, *more: str, **defaults: object) -> ListMerge:
    """Items with this key are one item to a patch; `more` keys are needed to tell them apart for apply."""
    return ListMerge(ListKind.MAP, key, (key, *more), tuple(sorted(defaults.items())))


def _applied_by(key: str) -> ListMerge:
    """A patch replaces the list, apply merges it."""
    return ListMerge(ListKind.MAP, "", (key,))


def _retaining(key: str) -> ListMerge:
    return ListMerge(ListKind.MAP, key, (key,), retains_keys=True)


_CONTAINER: Final[Mapping[str, ListMerge]] = {
    "env": by("name"),
    # API: "Protocol for port. Must be UDP, TCP, or SCTP. Defaults to "TCP"."
    "ports": by("containerPort", "protocol", protocol="TCP"),
    "volumeDevices": by("devicePath"),
    "volumeMounts": by("mountPath"),
}

_CONDITIONS: Final = (
    "apps.v1.DaemonSetStatus",
    "apps.v1.DeploymentStatus",
    "apps.v1.ReplicaSetStatus",
    "apps.v1.StatefulSetStatus",
    "batch.v1.JobStatus",
    "core.v1.NamespaceStatus",
    "core.v1.NodeStatus",
    "core.v1.PodStatus",
    "core.v1.ServiceStatus",
    "policy.v1.PodDisruptionBudgetStatus",
)

LISTS: Final[Mapping[str, ListMerge]] = {
    "meta.v1.ObjectMeta.finalizers": VALUES,
    "meta.v1.ObjectMeta.ownerReferences": by("uid"),
    **{
        f"core.v1.{owner}.{name}": merge
        for owner in ("Container", "EphemeralContainer")
        for name, merge in _CONTAINER.items()
    },
    "core.v1.NodeStatus.addresses": by("type"),
    "core.v1.PodSpec.containers": by("name"),
    "core.v1.PodSpec.ephemeralContainers": by("name"),
    "core.v1.PodSpec.hostAliases": by("ip"),
    "core.v1.PodSpec.imagePullSecrets": by("name"),
    "core.v1.PodSpec.initContainers": by("name"),
    "core.v1.PodSpec.resourceClaims": _retaining("name"),
    "core.v1.PodSpec.schedulingGates": by("name"),
    "core.v1.PodSpec.topologySpreadConstraints": by("topologyKey", "whenUnsatisfiable"),
    "core.v1.PodSpec.volumes": _retaining("name"),
    "core.v1.PodStatus.hostIPs": by("ip"),
    "core.v1.PodStatus.podIPs": by("ip"),
    "core.v1.PodStatus.resourceClaimStatuses": _retaining("name"),
    "core.v1.ResourceRequirements.claims": _applied_by("name"),
    "core.v1.ServiceAccount.secrets": by("name"),
    "core.v1.ServiceSpec.ports": by("port", "protocol", protocol="TCP"),
    **{f"{owner}.conditions": by("type") for owner in _CONDITIONS},
}

RETAINING_OBJECTS: Final = frozenset({"apps.v1.DeploymentSpec.strategy"})

ATOMIC_TYPES: Final = frozenset(
    {
        "core.v1.ConfigMapKeySelector",
        "core.v1.FileKeySelector",
        "core.v1.LocalObjectReference",
        "core.v1.NodeSelector",
        "core.v1.NodeSelectorTerm",
        "core.v1.ObjectFieldSelector",
        "core.v1.ObjectReference",
        "core.v1.ResourceFieldSelector",
        "core.v1.ScopeSelector",
        "core.v1.SecretKeySelector",
        "core.v1.TypedLocalObjectReference",
        "meta.v1.LabelSelector",
        "rbac.v1.RoleRef",
        "rbac.v1.Subject",
    }
)

ATOMIC_FIELDS: Final = frozenset(
    {
        "core.v1.PodSpec.nodeSelector",
        "core.v1.ServiceSpec.selector",
        "meta.v1.ManagedFieldsEntry.fieldsV1",
    }
)
