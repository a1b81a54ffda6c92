"""The roles and bindings that a cluster begins with, as far as installations refer to them."""

from typing import Final

from policy_controller.testing.api_server.access.identity import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import RBAC

_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _role(name: str, *rules: JsonObject) -> JsonObject:
    return _document("ClusterRole", name, rules=list(rules))


def _binding(name: str, *groups: str) -> JsonObject:
    subjects = [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups]
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    return _document("ClusterRoleBinding", name, roleRef=role, subjects=subjects)


def _document(kind: str, name: str, **parts: object) -> JsonObject:
    metadata = {"name": name, "labels": dict(_LABELS)}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **parts}


def _creates(group: str, *resources: str) -> JsonObject:
    return {"apiGroups": [group], "resources": list(resources), "verbs": ["create"]}


def _reads(*urls: str) -> JsonObject:
    return {"nonResourceURLs": list(urls), "verbs": ["get"]}


BOOTSTRAP: Final = (
    _role(
        "cluster-admin",
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ),
    _role(
        "system:auth-delegator",
        _creates("authentication.k8s.io", "tokenreviews"),
        _creates("authorization.k8s.io", "subjectaccessreviews"),
    ),
    _role(
        "system:basic-user",
        _creates("authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _creates("authentication.k8s.io", "selfsubjectreviews"),
    ),
    _role(
        "system:discovery",
        _reads("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"),
        _reads("/healthz", "/livez", "/readyz", "/version", "/version/"),
    ),
    _role("system:public-info-viewer", _reads("/healthz", "/livez", "/readyz", "/version", "/version/")),
    _binding("cluster-admin", MASTERS),
    _binding("system:basic-user", AUTHENTICATED),
    _binding("system:discovery", AUTHENTICATED),
    _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
)
