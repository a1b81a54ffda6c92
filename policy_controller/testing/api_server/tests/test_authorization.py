"""A server that authorises: who is known, who is refused, in which words, and what is written down of it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.access import unused
from policy_controller.testing.api_server.access.rbac import Decision, Url
from policy_controller.testing.api_server.access.record import LIMIT, Question, Record, Row
from policy_controller.testing.api_server.features import Features, Permission
from policy_controller.testing.api_server.tests.raw import PODS, POLICIES, RawClient, pod
from policy_controller.testing.api_server.tests.samples import RBAC, sample

ROBOT = "system:serviceaccount:default:web"
ANONYMOUS = "system:anonymous"
RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list"]},
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["ours"],
        "verbs": ["get", "list", "watch"],
    },
]
NAMESPACED = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]


def role(kind: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {**sample(f"{RBAC}/v1", kind), "rules": rules}


@pytest.fixture
async def guarded() -> AsyncIterator[ApiServer]:
    """A server with an account that may do what RULES say, and NAMESPACED in its namespace."""
    server = ApiServer(features=Features(permission=Permission.AUTHORIZED))
    for document in (
        role("ClusterRole", RULES),
        sample(f"{RBAC}/v1", "ClusterRoleBinding"),
        role("Role", NAMESPACED),
        sample(f"{RBAC}/v1", "RoleBinding"),
        sample("v1", "ServiceAccount"),
        sample("v1", "ServiceAccount", "idle"),
        pod("web"),
    ):
        server.create(document)
    async with server.listening("127.0.0.1", 0):
        yield server


@pytest.fixture
async def session(guarded: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(guarded.url) as session:
        yield session


async def answered(
    session: aiohttp.ClientSession, method: str, path: str, headers: Mapping[str, str], body: object = None
) -> tuple[int, Any]:
    content = None if body is None else msgspec.json.encode(body)
    typed = {"Content-Type": "application/json", **headers}
    async with session.request(method, path, data=content, headers=typed) as response:
        text = await response.read()
    return response.status, msgspec.json.decode(text) if text[:1] == b"{" else text


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_credentials_that_do_not_hold_are_refused_whatever_is_asked(
    guarded: ApiServer, session: aiohttp.ClientSession
) -> None:
    held = (
        "unknown",
        guarded.token("web", seconds=-1),
        guarded.token("web", audience="policy-controller"),
    )
    for token in held:
        for path in (PODS, "/healthz", "/apis/nothing/v1/here"):
            code, body = await answered(session, "GET", path, bearer(token))
            assert (code, body) == (
                401,
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": "Unauthorized",
                    "reason": "Unauthorized",
                    "code": 401,
                },
            )


ALLOWED: list[tuple[str, str]] = [
    ("GET", PODS),
    ("GET", "/api/v1/pods"),
    ("GET", f"{PODS}/web"),
    ("GET", "/apis/networking.k8s.io/v1/networkpolicies"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dours"),
    ("GET", "/version"),
    ("GET", "/api"),
    ("GET", "/apis/networking.k8s.io/v1"),
    ("GET", "/openapi/v3"),
]


@pytest.mark.parametrize(("method", "path"), ALLOWED)
async def test_account_may_do_what_its_roles_say(
    guarded: ApiServer, session: aiohttp.ClientSession, method: str, path: str
) -> None:
    code, _ = await answered(session, method, path, bearer(guarded.token("web")))
    assert code == 200


async def test_role_of_a_namespace_holds_there(guarded: ApiServer, session: aiohttp.ClientSession) -> None:
    found = {}
    for namespace in ("default", "kube-system"):
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        body = {"metadata": {"name": "made"}}
        found[namespace], _ = await answered(session, "POST", path, bearer(guarded.token("web")), body)
    assert found == {"default": 201, "kube-system": 403}


REFUSED: list[tuple[str, str, str, dict[str, str]]] = [
    # method, path, message after the user's name, details
    ("GET", "/api/v1/nodes", 'list resource "nodes" in API group "" at the cluster scope', {"kind": "nodes"}),
    (
        "DELETE",
        f"{PODS}/web",
        'delete resource "pods" in API group "" in the namespace "default"',
        {"kind": "pods", "name": "web"},
    ),
    (
        "DELETE",
        POLICIES,
        'deletecollection resource "networkpolicies" in API group "networking.k8s.io" in the namespace "default"',
        {"kind": "networkpolicies", "group": "networking.k8s.io"},
    ),
    (
        "GET",
        f"{POLICIES}?watch=1",
        'watch resource "networkpolicies" in API group "networking.k8s.io" in the namespace "default"',
        {"kind": "networkpolicies", "group": "networking.k8s.io"},
    ),
    (
        "PATCH",
        f"{PODS}/web/status",
        'patch resource "pods/status" in API group "" in the namespace "default"',
        {"kind": "pods", "name": "web"},
    ),
    (
        "GET",
        f"{PODS}/web/portforward",
        'get resource "pods/portforward" in API group "" in the namespace "default"',
        {"kind": "pods", "name": "web"},
    ),
    (
        "GET",
        "/api/v1/namespaces/default",
        'get resource "namespaces" in API group "" in the namespace "default"',
        {"kind": "namespaces", "name": "default"},
    ),
    (
        "GET",
        "/api/v1/secrets?fieldSelector=metadata.name%3Dtheirs",
        'list resource "secrets" in API group "" at the cluster scope',
        {"kind": "secrets", "name": "theirs"},
    ),
    (
        "GET",
        "/apis/no/v1/things/x",
        'get resource "things" in API group "no" at the cluster scope',
        {"kind": "things", "name": "x", "group": "no"},
    ),
]


@pytest.mark.parametrize(("method", "path", "said", "details"), REFUSED)
async def test_refusal_is_in_the_words_of_a_real_server(
    guarded: ApiServer,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    said: str,
    details: dict[str, str],
) -> None:
    code, body = await answered(session, method, path, bearer(guarded.token("web")))
    kind = f"{details['kind']}.{details['group']}" if "group" in details else details["kind"]
    named = f'{kind} "{details["name"]}"' if "name" in details else kind
    assert (code, body["reason"], body["details"]) == (403, "Forbidden", details)
    assert body["message"] == f'{named} is forbidden: User "{ROBOT}" cannot {said}'


URLS: list[tuple[dict[str, str], str, int]] = [
    ({}, "/healthz", 200),
    ({}, "/version/", 200),
    ({}, "/apis", 403),
    ({"Authorization": "Basic d2ViOndlYg=="}, "/apis", 403),
    ({"Authorization": "Bearer "}, "/apis", 403),
    ({}, "/_access", 403),
]


@pytest.mark.parametrize(("headers", "path", "code"), URLS)
async def test_who_shows_no_token_is_anonymous(
    session: aiohttp.ClientSession, headers: dict[str, str], path: str, code: int
) -> None:
    found, body = await answered(session, "GET", path, headers)
    assert found == code
    if code == 403:
        assert body["message"] == f'forbidden: User "{ANONYMOUS}" cannot get path "{path}"'
        assert body["details"] == {}


AS_ANN = {"Impersonate-User": "ann"}
AS_CREW = {**AS_ANN, "Impersonate-Group": "crew"}
AS_ROBOT = {"Impersonate-User": ROBOT}
IMPERSONATE: list[tuple[list[dict[str, Any]], dict[str, str], str]] = [
    # what the account may do beside, whom it asks as, what is refused ("": nothing)
    (
        [],
        AS_ANN,
        f'users "ann" is forbidden: User "{ROBOT}" cannot impersonate resource "users" in API group "" at the cluster scope',
    ),
    (
        [{"apiGroups": [""], "resources": ["users"], "resourceNames": ["ann"], "verbs": ["impersonate"]}],
        AS_ANN,
        "",
    ),
    (
        [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}],
        AS_CREW,
        f'groups "crew" is forbidden: User "{ROBOT}" cannot impersonate resource "groups" in API group "" at the cluster scope',
    ),
    ([{"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]}], AS_CREW, ""),
    (
        [],
        AS_ROBOT,
        f'serviceaccounts "web" is forbidden: User "{ROBOT}" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "default"',
    ),
]


@pytest.mark.parametrize(("rules", "headers", "refusal"), IMPERSONATE)
async def test_asking_as_somebody_else_must_be_allowed_itself(
    guarded: ApiServer,
    session: aiohttp.ClientSession,
    rules: list[dict[str, Any]],
    headers: dict[str, str],
    refusal: str,
) -> None:
    guarded.apply(role("ClusterRole", [*RULES, *rules]))
    code, body = await answered(session, "GET", PODS, {**bearer(guarded.token("web")), **headers})
    asked_as = (
        'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert (code, body["message"]) == (403, refusal or asked_as)


async def test_developer_may_do_everything_and_ask_as_anybody(
    guarded: ApiServer, session: aiohttp.ClientSession
) -> None:
    own = bearer(guarded.developer_token)
    assert (await answered(session, "GET", "/api/v1/nodes", own))[0] == 200
    assert (await answered(session, "GET", PODS, {**own, **AS_ROBOT}))[0] == 200
    assert (await answered(session, "GET", "/api/v1/nodes", {**own, **AS_ROBOT}))[0] == 403
    assert (await answered(session, "GET", PODS, {**own, "Impersonate-User": ANONYMOUS}))[0] == 403
    assert (await answered(session, "GET", PODS, {**own, "Impersonate-Group": "crew"}))[0] == 500


CREATES: list[tuple[str, str, dict[str, str], dict[str, Any]]] = [
    (
        "PATCH",
        "configmaps",
        {"Content-Type": "application/apply-patch+yaml"},
        {"apiVersion": "v1", "kind": "ConfigMap"},
    ),
    ("PUT", "endpoints", {}, {"metadata": {"name": "made"}}),
]


@pytest.mark.parametrize(("method", "resource", "headers", "body"), CREATES)
async def test_what_makes_an_object_must_be_allowed_to_create_it(
    guarded: ApiServer,
    session: aiohttp.ClientSession,
    method: str,
    resource: str,
    headers: dict[str, str],
    body: dict[str, Any],
) -> None:
    path = f"/api/v1/namespaces/kube-system/{resource}/made?fieldManager=test"
    robot = {**bearer(guarded.token("web")), **headers}
    found = []
    for verbs in (["patch", "update"], ["patch", "update", "create"], ["patch", "update"]):
        rule = {"apiGroups": [""], "resources": [resource], "verbs": verbs}
        guarded.apply(role("ClusterRole", [rule]))
        code, answer = await answered(session, method, path, robot, body)
        found.append((code, "cannot create" in answer.get("message", "")))
    assert found == [(403, True), (201, False), (200, False)]


async def test_record_tells_who_asked_for_what_and_which_binding_allowed_it(
    guarded: ApiServer, session: aiohttp.ClientSession
) -> None:
    own, robot = bearer(guarded.developer_token), bearer(guarded.token("web"))
    for _ in range(2):
        await answered(session, "GET", f"{PODS}/web", robot)
    await answered(session, "GET", "/api/v1/nodes", robot)
    await answered(session, "GET", "/version", {})
    code, told = await answered(session, "DELETE", "/_access", own)
    rows = msgspec.convert(told["requests"], list[Row])
    pods = Question(ROBOT, "get", "", "pods", "", "default", "web")
    by_web = 'RBAC: allowed by ClusterRoleBinding "web" of ClusterRole "web" to ServiceAccount "web"'
    assert code == 200
    assert told["lost"] == 0
    assert rows[:2] == [
        Row(pods, by_web, 2),
        Row(Question(ROBOT, "list", resource="nodes", allowed=False), "", 1),
    ]
    assert [(row.question.user, row.question.path) for row in rows[2:]] == [
        (ANONYMOUS, "/version"),
        ("development", "/_access"),
    ]
    _, told = await answered(session, "GET", "/_access", own)
    assert [row["question"]["path"] for row in told["requests"]] == ["/_access"]


async def test_what_a_role_grants_in_vain_can_be_told(
    guarded: ApiServer, session: aiohttp.ClientSession
) -> None:
    robot = bearer(guarded.token("web"))
    for path in (PODS, f"{PODS}/web", f"{POLICIES}", "/api/v1/secrets?fieldSelector=metadata.name%3Dours"):
        assert (await answered(session, "GET", path, robot))[0] == 200
    asked = [row.question for row in guarded.record.rows if row.question.user == ROBOT]
    secrets = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["ours"]}
    assert unused(RULES, asked) == (
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {**secrets, "verbs": ["get"]},
        {**secrets, "verbs": ["watch"]},
    )


async def test_removed_role_is_refused_at_once(guarded: ApiServer, session: aiohttp.ClientSession) -> None:
    robot = bearer(guarded.token("web"))
    assert (await answered(session, "GET", PODS, robot))[0] == 200
    guarded.delete("ClusterRole", "web")
    assert (await answered(session, "GET", PODS, robot))[0] == 403


def test_record_is_bounded() -> None:
    record = Record()
    for number in range(LIMIT + 2):
        record.note("ann", Url("get", f"/{number}"), Decision(allowed=True))
    assert (len(record.rows), record.lost) == (LIMIT, 2)


async def test_open_server_records_nothing_and_has_no_place_to_tell(
    client: RawClient, server: ApiServer
) -> None:
    await client.get(PODS)
    assert server.record.rows == ()
    assert (await client.get("/_access")).code == 404
