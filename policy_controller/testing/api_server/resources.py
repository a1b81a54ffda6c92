"""Which resources are served: one row each.

Knows groups, versions, names, verbs and which fields a selector may ask for. Knows nothing of objects, storage
or HTTP. A new resource is a new row (and, if its kind has defaults or checks, a row in `kinds`).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


class Scope(enum.Enum):
    """Whether objects live in a namespace."""

    NAMESPACED = "namespaced"
    CLUSTER = "cluster"


class NameRule(enum.Enum):
    """What an object's name must be."""

    LABEL = "DNS-1123 label"
    SUBDOMAIN = "DNS-1123 subdomain"


class Generation(enum.Enum):
    """Whether metadata.generation counts the changes of spec."""

    COUNTED = "counted"
    ABSENT = "absent"


class Put(enum.Enum):
    """What a PUT may do beyond replacing the version it names."""

    UNCONDITIONAL = "replaces any version when it names none"
    VERSIONED = "must name the version it replaces; creates what is not there"
    CREATES = "replaces any version, and creates what is not there"


class Deletion(enum.Enum):
    """What answers a DELETE that removed its object."""

    STATUS = "a Status"
    OBJECT = "the object as it last was"


@dataclass(frozen=True, slots=True)
class SelectableField:
    """Where the value of a fieldSelector's term is found; booleans are compared as "true" and "false"."""

    path: tuple[str, ...]
    absent: str = ""


def selectable(*dotted: str, **absent: str) -> dict[str, SelectableField]:
    """Fields whose name is their path; absent fields compare as the empty string."""
    return {name: SelectableField(tuple(name.split("."))) for name in dotted} | {
        name: SelectableField(tuple(name.split(".")), value) for name, value in absent.items()
    }


ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SUBRESOURCE_VERBS: Final = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource.

    `storage` names the shelf its objects lie on: two resources with the same shelf show the same objects, `renamed`
    saying which top-level fields are called differently here (name in storage -> name here).
    """

    group: str
    version: str
    kind: str
    plural: str
    scope: Scope = Scope.NAMESPACED
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    names: NameRule = NameRule.SUBDOMAIN
    generation: Generation = Generation.ABSENT
    put: Put = Put.UNCONDITIONAL
    deletion: Deletion = Deletion.STATUS
    fields: Mapping[str, SelectableField] = field(default_factory=dict)
    shared_storage: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def singular(self) -> str:
        """The name kubectl shows for one object."""
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """`v1`, or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`pods`, or `networkpolicies.networking.k8s.io`: the name in messages and of the shelf."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Pod`, or `NetworkPolicy.networking.k8s.io`: the name in messages about validity."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def storage(self) -> str:
        """The shelf its objects lie on."""
        return self.shared_storage or self.qualified


NAMESPACES: Final = Resource(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    scope=Scope.CLUSTER,
    short_names=("ns",),
    subresources=("status",),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    names=NameRule.LABEL,
    deletion=Deletion.OBJECT,
    fields=selectable("status.phase"),
)

_POD_FIELDS: Final = selectable(
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
    **{"spec.hostNetwork": "false"},
)

_EVENT_FIELDS: Final = selectable(
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "type",
) | {"source": SelectableField(("source", "component"))}

RESOURCES: Final[tuple[Resource, ...]] = (
    NAMESPACES,
    Resource(
        group="",
        version="v1",
        kind="Pod",
        plural="pods",
        short_names=("po",),
        categories=("all",),
        subresources=("status",),
        generation=Generation.COUNTED,
        deletion=Deletion.OBJECT,
        fields=_POD_FIELDS,
    ),
    Resource(
        group="",
        version="v1",
        kind="Node",
        plural="nodes",
        scope=Scope.CLUSTER,
        short_names=("no",),
        subresources=("status",),
        fields=selectable(**{"spec.unschedulable": "false"}),
    ),
    Resource(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        short_names=("ev",),
        put=Put.CREATES,
        fields=_EVENT_FIELDS,
    ),
    Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",)),
    Resource(group="", version="v1", kind="Secret", plural="secrets", fields=selectable("type")),
    Resource(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        short_names=("ev",),
        put=Put.CREATES,
        shared_storage="events",
        fields=selectable("reason", "type")
        | {
            f"regarding.{name.partition('.')[2]}": row
            for name, row in _EVENT_FIELDS.items()
            if name.startswith("involvedObject.")
        }
        | {"reportingController": SelectableField(("reportingComponent",))},
        # API reference of events.k8s.io/v1: "deprecatedX is the deprecated field assuring backward
        # compatibility with core.v1 Event type".
        renamed={
            "involvedObject": "regarding",
            "message": "note",
            "source": "deprecatedSource",
            "firstTimestamp": "deprecatedFirstTimestamp",
            "lastTimestamp": "deprecatedLastTimestamp",
            "count": "deprecatedCount",
            "reportingComponent": "reportingController",
        },
    ),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        short_names=("netpol",),
        generation=Generation.COUNTED,
    ),
    Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", put=Put.VERSIONED),
)

BY_PATH: Final[Mapping[tuple[str, str, str], Resource]] = {
    (row.group, row.version, row.plural): row for row in RESOURCES
}
BY_KIND: Final[Mapping[tuple[str, str], Resource]] = {(row.api_version, row.kind): row for row in RESOURCES}
