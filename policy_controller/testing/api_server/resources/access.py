"""Who may do what: the stored kinds of RBAC, and the reviews, which are answered and not stored."""

from typing import Final

from policy_controller.testing.api_server.resources.rows import Keeping, NameRule, Put, Resource, Scope

RBAC: Final = "rbac.authorization.k8s.io"


def _rule(kind: str, scope: Scope) -> Resource:
    plural = f"{kind.lower()}s"
    names = NameRule.PATH_SEGMENT
    return Resource(RBAC, "v1", kind, plural, scope, names=names, put=Put.CREATES)


def _review(group: str, kind: str, scope: Scope = Scope.CLUSTER) -> Resource:
    return Resource(group, "v1", kind, f"{kind.lower()}s", scope, verbs=("create",), keeping=Keeping.ANSWERED)


CLUSTER_ROLES: Final = _rule("ClusterRole", Scope.CLUSTER)
CLUSTER_ROLE_BINDINGS: Final = _rule("ClusterRoleBinding", Scope.CLUSTER)
ROLES: Final = _rule("Role", Scope.NAMESPACED)
ROLE_BINDINGS: Final = _rule("RoleBinding", Scope.NAMESPACED)

ACCESS: Final = (
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authentication.k8s.io", "TokenReview"),
    _review("authorization.k8s.io", "LocalSubjectAccessReview", Scope.NAMESPACED),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
    _review("authorization.k8s.io", "SubjectAccessReview"),
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
)
