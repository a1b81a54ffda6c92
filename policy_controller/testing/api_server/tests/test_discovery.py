"""What the server says it serves."""

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.resources import RESOURCES
from policy_controller.testing.api_server.tests.raw import RawClient

APPS = "/apis/apps/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = {"delete", "deletecollection", "get", "list", "patch", "update", "watch"}
SERVED = [
    # path of the version, resource, kind, namespaced, short names, verbs it lacks
    ("/api/v1", "namespaces", "Namespace", False, ["ns"], {"deletecollection"}),
    ("/api/v1", "pods", "Pod", True, ["po"], set()),
    ("/api/v1", "nodes", "Node", False, ["no"], set()),
    ("/api/v1", "events", "Event", True, ["ev"], set()),
    ("/api/v1", "configmaps", "ConfigMap", True, ["cm"], set()),
    ("/api/v1", "secrets", "Secret", True, [], set()),
    ("/api/v1", "services", "Service", True, ["svc"], set()),
    ("/api/v1", "serviceaccounts", "ServiceAccount", True, ["sa"], set()),
    ("/apis/events.k8s.io/v1", "events", "Event", True, ["ev"], set()),
    ("/apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True, ["netpol"], set()),
    ("/apis/coordination.k8s.io/v1", "leases", "Lease", True, [], set()),
    (APPS, "deployments", "Deployment", True, ["deploy"], set()),
    (APPS, "daemonsets", "DaemonSet", True, ["ds"], set()),
    (RBAC, "roles", "Role", True, [], set()),
    (RBAC, "clusterrolebindings", "ClusterRoleBinding", False, [], set()),
    ("/apis/authentication.k8s.io/v1", "tokenreviews", "TokenReview", False, [], REVIEWS),
    ("/apis/authorization.k8s.io/v1", "subjectaccessreviews", "SubjectAccessReview", False, [], REVIEWS),
]
ALL_VERBS = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}


@pytest.mark.parametrize(("path", "name", "kind", "namespaced", "short", "lacks"), SERVED)
async def test_resource_is_described_as_clients_expect(
    client: RawClient, path: str, name: str, kind: str, namespaced: bool, short: list[str], lacks: set[str]
) -> None:
    answer = await client.get(path)
    described = {row["name"]: row for row in answer.body["resources"]}[name]
    assert answer.body["groupVersion"] == path.removeprefix("/apis/").removeprefix("/api/")
    assert (described["kind"], described["singularName"]) == (kind, kind.lower())
    assert described["namespaced"] is namespaced
    assert described.get("shortNames", []) == short
    assert set(described["verbs"]) == ALL_VERBS - lacks


@pytest.mark.parametrize("name", ["namespaces/status", "nodes/status", "pods/status"])
async def test_status_is_a_subresource_with_its_own_verbs(client: RawClient, name: str) -> None:
    answer = await client.get("/api/v1")
    described = {row["name"]: row for row in answer.body["resources"]}[name]
    assert described["verbs"] == ["get", "patch", "update"]


async def test_groups_lead_to_their_versions(client: RawClient) -> None:
    groups = (await client.get("/apis")).body["groups"]
    assert [group["name"] for group in groups] == sorted({row.group for row in RESOURCES if row.group})
    for group in groups:
        alone = (await client.get(f"/apis/{group['name']}")).body
        assert alone["preferredVersion"] == group["preferredVersion"]
        listed = await client.get(f"/apis/{group['preferredVersion']['groupVersion']}")
        assert listed.body["kind"] == "APIResourceList"
    assert (await client.get("/api")).body["versions"] == ["v1"]


async def test_version_is_one_that_clients_support(client: RawClient) -> None:
    version = (await client.get("/version")).body
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
async def test_health_is_told_in_plain_text(server: ApiServer, path: str) -> None:
    async with aiohttp.ClientSession(server.url) as session, session.get(path) as response:
        assert (response.status, await response.text()) == (200, "ok")


NOT_SERVED = [
    ("GET", "/apis/apps.example", 404),
    ("GET", "/apis/apps/v2", 404),
    ("GET", "/api/v2", 404),
    ("GET", "/openapi/v4", 404),
    ("GET", "/api/v1/deployments", 404),
    ("GET", "/api/v1/namespaces/default/nodes", 404),
    ("GET", "/api/v1/pods/web", 404),
    ("GET", "/api/v1/namespaces/default/pods/web/log", 404),
    ("GET", "/api/v1/namespaces/default/pods/web/eviction", 405),
    ("GET", "/apis/authentication.k8s.io/v1/tokenreviews", 405),
    ("GET", "/api/v1/namespaces/default/pods/", 404),
    ("POST", "/api/v1/pods", 405),
    ("DELETE", "/api/v1/pods", 405),
    ("DELETE", "/api/v1/namespaces", 405),
    ("POST", "/api/v1/namespaces/default", 405),
    ("POST", "/version", 405),
]


@pytest.mark.parametrize(("method", "path", "code"), NOT_SERVED)
async def test_what_is_not_served_is_refused_with_a_status(
    client: RawClient, method: str, path: str, code: int
) -> None:
    answer = await client.do(method, path)
    assert (answer.code, answer.body["kind"], answer.body["code"]) == (code, "Status", code)
    assert answer.body["reason"] == {404: "NotFound", 405: "MethodNotAllowed"}[code]


async def test_client_that_takes_no_json_is_refused(client: RawClient) -> None:
    headers = {"Accept": "application/vnd.kubernetes.protobuf"}
    async with client.session.get("/api/v1/pods", headers=headers) as response:
        assert response.status == 406
    headers["Accept"] += ";q=1,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
    async with client.session.get("/api/v1/pods", headers=headers) as response:
        assert (await response.json())["kind"] == "PodList"
