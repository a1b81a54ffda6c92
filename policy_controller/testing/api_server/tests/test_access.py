"""Reviews: what the stored roles allow, and who asks. (What tokens stand for: `test_tokens`.)"""

from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.access.rbac import Attributes, Url, allows
from policy_controller.testing.api_server.tests.raw import RawClient, namespace
from policy_controller.testing.api_server.tests.samples import RBAC, sample

AUTHN = "/apis/authentication.k8s.io/v1"
AUTHZ = "/apis/authorization.k8s.io/v1"
TOKENS = "/api/v1/namespaces/default/serviceaccounts/web/token"

CORE_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
ROWS: list[tuple[dict[str, Any], Attributes | Url, bool]] = [
    (CORE_PODS, Attributes("get", "", "pods"), True),
    (CORE_PODS, Attributes("delete", "", "pods"), False),
    (CORE_PODS, Attributes("get", "apps", "pods"), False),
    (CORE_PODS, Attributes("get", "", "nodes"), False),
    (CORE_PODS, Attributes("get", "", "pods", "log"), False),
    ({**CORE_PODS, "resources": ["pods/log"]}, Attributes("get", "", "pods", "log"), True),
    ({**CORE_PODS, "resources": ["pods/log"]}, Attributes("get", "", "pods"), False),
    ({**CORE_PODS, "resources": ["*/log"]}, Attributes("get", "", "pods", "log"), True),
    ({**CORE_PODS, "resources": ["*/log"]}, Attributes("get", "", "pods", "status"), False),
    ({**CORE_PODS, "resources": ["*"]}, Attributes("get", "", "pods", "log"), True),
    ({**CORE_PODS, "verbs": ["*"]}, Attributes("delete", "", "pods"), True),
    ({**CORE_PODS, "apiGroups": ["*"]}, Attributes("get", "apps", "pods"), True),
    ({**CORE_PODS, "resourceNames": ["a"]}, Attributes("get", "", "pods", name="a"), True),
    ({**CORE_PODS, "resourceNames": ["a"]}, Attributes("get", "", "pods", name="b"), False),
    ({**CORE_PODS, "resourceNames": ["a"]}, Attributes("list", "", "pods"), False),
    ({**CORE_PODS, "resourceNames": []}, Attributes("list", "", "pods"), True),
    (CORE_PODS, Url("get", "/healthz"), False),
    ({"nonResourceURLs": ["/healthz"], "verbs": ["get"]}, Url("get", "/healthz"), True),
    ({"nonResourceURLs": ["/healthz"], "verbs": ["get"]}, Url("get", "/healthz/x"), False),
    ({"nonResourceURLs": ["/healthz/*"], "verbs": ["get"]}, Url("get", "/healthz/x"), True),
    ({"nonResourceURLs": ["*"], "verbs": ["get"]}, Url("post", "/healthz"), False),
    ({"nonResourceURLs": ["*"], "verbs": ["*"]}, Attributes("get", "", "pods"), False),
]


@pytest.mark.parametrize(("rule", "asked", "allowed"), ROWS)
def test_rule_allows_what_it_names(rule: dict[str, Any], asked: Attributes | Url, allowed: bool) -> None:
    assert allows(rule, asked) is allowed


def _binding(kind: str, role: tuple[str, str], subject: dict[str, str], where: str = "") -> dict[str, Any]:
    reference = {"apiGroup": RBAC, "kind": role[0], "name": role[1]}
    metadata = {"name": "bound", **({"namespace": where} if where else {})}
    head = {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata}
    return {**head, "roleRef": reference, "subjects": [subject]}


ANN = {"kind": "User", "name": "ann"}
CREW = {"kind": "Group", "name": "crew"}
ROBOT = {"kind": "ServiceAccount", "name": "web", "namespace": "default"}
ROBOT_USER = "system:serviceaccount:default:web"
WIDE, NARROW = ("ClusterRole", "web"), ("Role", "web")
SUBJECTS: list[tuple[dict[str, Any], dict[str, Any], str, bool]] = [
    # binding, who asks, in which namespace, whether pods may be listed
    (_binding("ClusterRoleBinding", WIDE, ANN), {"user": "ann"}, "", True),
    (_binding("ClusterRoleBinding", WIDE, ANN), {"user": "ann"}, "kube-system", True),
    (_binding("ClusterRoleBinding", WIDE, ANN), {"user": "bob"}, "", False),
    (_binding("ClusterRoleBinding", WIDE, ANN), {"user": "x", "groups": ["ann"]}, "", False),
    (_binding("ClusterRoleBinding", WIDE, CREW), {"user": "x", "groups": ["crew"]}, "", True),
    (_binding("ClusterRoleBinding", WIDE, CREW), {"groups": ["crew"]}, "", True),
    (_binding("ClusterRoleBinding", WIDE, ROBOT), {"user": ROBOT_USER}, "kube-system", True),
    (_binding("ClusterRoleBinding", WIDE, ROBOT), {"user": "web"}, "", False),
    (_binding("ClusterRoleBinding", ("ClusterRole", "absent"), ANN), {"user": "ann"}, "", False),
    (_binding("RoleBinding", NARROW, ANN, "default"), {"user": "ann"}, "default", True),
    (_binding("RoleBinding", NARROW, ANN, "default"), {"user": "ann"}, "kube-system", False),
    (_binding("RoleBinding", NARROW, ANN, "default"), {"user": "ann"}, "", False),
    (_binding("RoleBinding", WIDE, ANN, "kube-system"), {"user": "ann"}, "kube-system", True),
    (_binding("RoleBinding", NARROW, ANN, "kube-system"), {"user": "ann"}, "kube-system", False),
    (_binding("RoleBinding", WIDE, ANN, "default"), {"user": "root", "groups": ["system:masters"]}, "", True),
]


@pytest.mark.parametrize(("binding", "who", "where", "allowed"), SUBJECTS)
async def test_subject_access_review_follows_bindings(
    server: ApiServer,
    client: RawClient,
    binding: dict[str, Any],
    who: dict[str, Any],
    where: str,
    allowed: bool,
) -> None:
    for kind in ("Role", "ClusterRole"):
        server.create(sample(f"{RBAC}/v1", kind))
    server.create(binding)
    attributes = {"verb": "list", "resource": "pods", "namespace": where}
    review = {"kind": "SubjectAccessReview", "spec": {**who, "resourceAttributes": attributes}}
    answer = await client.post(f"{AUTHZ}/subjectaccessreviews", review)
    assert (answer.code, answer.body["status"]["allowed"]) == (201, allowed)
    if "namespace" in attributes and where:
        path = f"{AUTHZ}/namespaces/{where}/localsubjectaccessreviews"
        local = await client.post(path, {**review, "kind": "LocalSubjectAccessReview"})
        assert local.body["status"]["allowed"] is allowed


PODS = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
MALFORMED: list[tuple[str, dict[str, Any], int]] = [
    (f"{AUTHZ}/subjectaccessreviews", PODS, 422),
    (f"{AUTHZ}/subjectaccessreviews", {"user": "a"}, 422),
    (f"{AUTHZ}/subjectaccessreviews", {"user": "a", **PODS, "nonResourceAttributes": {"path": "/"}}, 422),
    (f"{AUTHZ}/subjectaccessreviews", {"user": 1, **PODS}, 400),
    (f"{AUTHZ}/namespaces/default/localsubjectaccessreviews", {"user": "a", **PODS}, 422),
    (f"{AUTHZ}/selfsubjectrulesreviews", {}, 400),
    (f"{AUTHN}/tokenreviews", {}, 400),
    (TOKENS, {"expirationSeconds": 1}, 422),
    (TOKENS, {"audiences": "x"}, 400),
    (TOKENS, {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}}, 400),
    (TOKENS, {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}, 404),
    (TOKENS.replace("web", "absent"), {}, 404),
]


@pytest.mark.parametrize(("path", "spec", "code"), MALFORMED)
async def test_question_that_cannot_be_answered_is_refused(
    server: ApiServer, client: RawClient, path: str, spec: dict[str, Any], code: int
) -> None:
    server.create(sample("v1", "ServiceAccount"))
    assert (await client.post(path, {"spec": spec})).code == code


async def test_asker_is_the_developer_a_token_or_who_is_impersonated(
    server: ApiServer, client: RawClient
) -> None:
    server.create(namespace("shop"))
    server.create(sample("v1", "ServiceAccount"))
    token = (await client.post(TOKENS, {"spec": {}})).body["status"]["token"]
    asked: list[tuple[dict[str, str], str]] = [
        ({}, "development"),
        ({"Authorization": f"Bearer {token}"}, ROBOT_USER),
        ({"Authorization": "Bearer unknown"}, "development"),
        ({"Impersonate-User": "ann", "Impersonate-Group": "crew"}, "ann"),
    ]
    for headers, user in asked:
        path = f"{AUTHN}/selfsubjectreviews"
        async with client.session.post(path, json={}, headers=headers) as response:
            found = (await response.json())["status"]["userInfo"]
        assert found["username"] == user


async def test_reviews_leave_nothing_behind(server: ApiServer, client: RawClient) -> None:
    before = server.resource_version
    await client.post(f"{AUTHN}/tokenreviews", {"spec": {"token": "x"}})
    await client.post(f"{AUTHZ}/selfsubjectaccessreviews", {"spec": PODS})
    assert server.resource_version == before
