"""Role, ClusterRole and their bindings: what they must say."""

from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.kinds.rules import Rules, immutable, section
from policy_controller.testing.api_server.resources import RBAC
from policy_controller.testing.api_server.schemas.checks import missing
from policy_controller.testing.api_server.schemas.shapes import kind_named

# Subject kinds, and the group that is meant when they name none.
SUBJECT_GROUPS: Final[Mapping[str, str]] = {"Group": RBAC, "ServiceAccount": "", "User": RBAC}
ROLE_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ClusterRoleBinding": ("ClusterRole",),
    "RoleBinding": ("Role", "ClusterRole"),
}


def _shape_role(body: JsonObject) -> None:
    body.setdefault("rules", [])


def _role(kind: str) -> Rules:
    def faults(body: JsonObject) -> list[FieldFault]:
        found = missing(body, kind_named(f"{RBAC}/v1", kind), "rules")
        for index, rule in enumerate(body["rules"]):
            path = f"rules[{index}]"
            urls, named = rule.get("nonResourceURLs"), rule.get("resources") or rule.get("apiGroups")
            if not rule.get("verbs") and "verbs" in rule:
                found.append(
                    FieldFault(f"{path}.verbs", Fault.REQUIRED, "verbs must contain at least one value")
                )
            if urls and (kind == "Role" or named):
                detail = "namespaced rules cannot apply to non-resource URLs"
                if kind != "Role":
                    detail = "rules cannot apply to both regular resources and non-resource URLs"
                found.append(FieldFault(f"{path}.nonResourceURLs", Fault.INVALID, detail, urls))
            elif not urls:
                found += _resource_faults(path, rule)
        return found

    return Rules(shape=_shape_role, validate=faults)


def _resource_faults(path: str, rule: JsonObject) -> list[FieldFault]:
    return [
        FieldFault(f"{path}.{name}", Fault.REQUIRED, f"resource rules must supply at least one {what}")
        for name, what in (("apiGroups", "api group"), ("resources", "resource"))
        if not rule.get(name)
    ]


def _shape_binding(body: JsonObject) -> None:
    section(body, "roleRef").setdefault("apiGroup", RBAC)
    for subject in body.get("subjects", []):
        group = SUBJECT_GROUPS.get(subject.get("kind", ""), "")
        if group:
            subject.setdefault("apiGroup", group)


def _binding(kind: str) -> Rules:
    def faults(body: JsonObject) -> list[FieldFault]:
        found = missing(body, kind_named(f"{RBAC}/v1", kind), "roleRef", "subjects")
        referred = body["roleRef"].get("kind")
        if referred and referred not in ROLE_KINDS[kind]:
            found.append(_unsupported("roleRef.kind", referred, ROLE_KINDS[kind]))
        for index, subject in enumerate(body.get("subjects", [])):
            path = f"subjects[{index}]"
            named = subject.get("kind")
            if named and named not in SUBJECT_GROUPS:
                found.append(_unsupported(f"{path}.kind", named, tuple(SUBJECT_GROUPS)))
            if named == "ServiceAccount" and not subject.get("namespace"):
                found.append(FieldFault(f"{path}.namespace", Fault.REQUIRED, ""))
        return found

    return Rules(shape=_shape_binding, validate=faults, follow=_binding_follows)


def _binding_follows(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    _shape_binding(after)
    return immutable(before, after, "roleRef", detail="cannot change roleRef")


def _unsupported(path: str, value: object, words: tuple[str, ...]) -> FieldFault:
    supported = "supported values: " + ", ".join(f'"{word}"' for word in words)
    return FieldFault(path, Fault.NOT_SUPPORTED, supported, value)


ACCESS: Final[Mapping[str, Rules]] = {
    f"clusterrolebindings.{RBAC}": _binding("ClusterRoleBinding"),
    f"clusterroles.{RBAC}": _role("ClusterRole"),
    f"rolebindings.{RBAC}": _binding("RoleBinding"),
    f"roles.{RBAC}": _role("Role"),
}
