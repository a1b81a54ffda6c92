"""The columns of RBAC."""

from collections.abc import Callable, Mapping
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import RBAC
from policy_controller.testing.api_server.tables.columns import (
    AGE,
    CREATED,
    NAME,
    Column,
    at,
    shown,
    wide,
)


def _subjects(kind: str) -> Callable[[JsonObject], object]:
    def cell(body: JsonObject) -> object:
        found = [one for one in at(body, "subjects", []) if one.get("kind") == kind]
        named = kind == "ServiceAccount"
        return ", ".join(f"{one.get('namespace')}/{one['name']}" if named else one["name"] for one in found)

    return cell


_BINDING: Final = (
    NAME,
    shown("Role", lambda body: f"{at(body, 'roleRef.kind')}/{at(body, 'roleRef.name')}"),
    AGE,
    wide("Users", _subjects("User")),
    wide("Groups", _subjects("Group")),
    wide("ServiceAccounts", _subjects("ServiceAccount")),
)
ACCESS_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    f"clusterrolebindings.{RBAC}": _BINDING,
    f"clusterroles.{RBAC}": (NAME, CREATED),
    f"rolebindings.{RBAC}": _BINDING,
    f"roles.{RBAC}": (NAME, CREATED),
}
