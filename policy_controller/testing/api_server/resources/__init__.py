"""Which resources are served: one row each.

    rows                      what a row says
    core, workloads, access   the rows

A new resource is a new row, its kind among the written types (`schemas`) and, if it has defaults or checks, a row in
`kinds`, and columns of its own in `tables`.
"""

from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.resources.access import (
    ACCESS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    RBAC,
    ROLE_BINDINGS,
    ROLES,
)
from policy_controller.testing.api_server.resources.core import CORE, NAMESPACES, PODS
from policy_controller.testing.api_server.resources.rows import (
    ALL_VERBS,
    SUBRESOURCES,
    Deletion,
    Generation,
    Keeping,
    NameRule,
    Put,
    Resource,
    Scope,
    SelectableField,
    Subresource,
    selectable,
)
from policy_controller.testing.api_server.resources.workloads import WORKLOADS

RESOURCES: Final[tuple[Resource, ...]] = (*CORE, *WORKLOADS, *ACCESS)
BY_PATH: Final[Mapping[tuple[str, str, str], Resource]] = {
    (row.group, row.version, row.plural): row for row in RESOURCES
}
BY_KIND: Final[Mapping[tuple[str, str], Resource]] = {(row.api_version, row.kind): row for row in RESOURCES}

__all__ = [
    "ALL_VERBS",
    "BY_KIND",
    "BY_PATH",
    "CLUSTER_ROLES",
    "CLUSTER_ROLE_BINDINGS",
    "NAMESPACES",
    "PODS",
    "RBAC",
    "RESOURCES",
    "ROLES",
    "ROLE_BINDINGS",
    "SUBRESOURCES",
    "Deletion",
    "Generation",
    "Keeping",
    "NameRule",
    "Put",
    "Resource",
    "Scope",
    "SelectableField",
    "Subresource",
    "selectable",
]
