"""What a row of the table of resources says.

Knows groups, versions, names, verbs and which fields a selector may ask for. Knows nothing of objects, storage
or HTTP.
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
    SERVICE_LABEL = "DNS-1035 label"
    SUBDOMAIN = "DNS-1123 subdomain"
    PATH_SEGMENT = "anything that can stand in a path"


class Keeping(enum.Enum):
    """What becomes of a created object."""

    STORED = "stored"
    ANSWERED = "answered, and not stored: a review"


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


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of objects: the kind of the documents that are sent there, "" for the object's own kind.

    `refused` says why there is nothing to be had, for parts that only a real cluster has.
    """

    verbs: tuple[str, ...]
    api_version: str = ""
    kind: str = ""
    refused: str = ""


_CHANGEABLE: Final = ("get", "patch", "update")
_NO_CONTAINERS: Final = "this is a development API server: no pod runs, so there is"
SUBRESOURCES: Final[Mapping[str, Subresource]] = {
    "attach": Subresource(("create", "get"), refused=f"{_NO_CONTAINERS} nothing to attach to"),
    "eviction": Subresource(("create",), "policy/v1", "Eviction"),
    "exec": Subresource(("create", "get"), refused=f"{_NO_CONTAINERS} nothing to execute in"),
    "log": Subresource(("get",), refused=f"{_NO_CONTAINERS} no log"),
    "portforward": Subresource(("create", "get"), refused=f"{_NO_CONTAINERS} no port to forward"),
    "scale": Subresource(_CHANGEABLE, "autoscaling/v1", "Scale"),
    "status": Subresource(_CHANGEABLE),
    "token": Subresource(("create",), "authentication.k8s.io/v1", "TokenRequest"),
}


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
    keeping: Keeping = Keeping.STORED
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
