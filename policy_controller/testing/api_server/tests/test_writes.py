"""Create, get, update, and the refusals that clients act on."""

import datetime
from typing import Any

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.api_server.tests.raw import (
    CONFIGMAPS,
    MERGE,
    PODS,
    POLICIES,
    RawClient,
    configmap,
    namespace,
    pod,
    policy,
)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


async def test_created_object_gets_identity_version_and_defaults(client: RawClient) -> None:
    hostile: dict[str, Any] = {
        "uid": "mine",
        "generation": 9,
        "managedFields": [{}],
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }
    created = await client.post(PODS, pod("web", **hostile))
    assert created.code == 201
    assert (created.body["kind"], created.body["apiVersion"]) == ("Pod", "v1")
    metadata = created.body["metadata"]
    assert (metadata["name"], metadata["namespace"], metadata["generation"]) == ("web", "default", 1)
    assert len(metadata["uid"]) == 36
    assert "deletionTimestamp" not in metadata
    assert [entry["operation"] for entry in metadata["managedFields"]] == ["Update"]
    assert created.body["status"] == {"phase": "Pending"}
    assert (await client.get(f"{PODS}/web")).body == created.body


async def test_every_write_has_the_next_number(client: RawClient) -> None:
    first = await client.post(PODS, pod("web"))
    second = await client.post(CONFIGMAPS, configmap("a"))
    versions = [int(answer.body["metadata"]["resourceVersion"]) for answer in (first, second)]
    assert versions[1] == versions[0] + 1
    assert (await client.get(PODS)).body["metadata"]["resourceVersion"] == str(versions[1])


async def test_generated_names_are_legal_and_differ(client: RawClient) -> None:
    document = configmap("", generateName="x" * 70)
    names = {(await client.post(CONFIGMAPS, document)).body["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert {len(name) for name in names} == {63}


class Noon:
    def now(self) -> datetime.datetime:
        return datetime.datetime(2024, 5, 1, 14, 0, 0, 999999, datetime.timezone(datetime.timedelta(hours=2)))


class Counting:
    def __init__(self) -> None:
        self.count = 0

    def uid(self) -> str:
        self.count += 1
        return f"uid-{self.count}"

    def suffix(self) -> str:
        self.count += 1
        return f"s{self.count // 2}"


def test_clock_and_identities_are_the_ones_given_and_a_taken_generated_name_is_tried_again() -> None:
    server = ApiServer(clock=Noon(), identities=Counting())
    server.create(configmap("a-s3"))
    made = server.create(configmap("", generateName="a-"))
    assert made["metadata"]["creationTimestamp"] == "2024-05-01T12:00:00Z"
    assert made["metadata"]["name"].startswith("a-s")
    assert made["metadata"]["uid"].startswith("uid-")
    assert len(server.list("ConfigMap")) == 2


async def test_generation_counts_changes_of_spec_only(client: RawClient) -> None:
    await client.post(POLICIES, policy("p", {"podSelector": {}}))
    patches: list[tuple[dict[str, object], int]] = [
        ({"metadata": {"labels": {"a": "b"}}}, 1),
        ({"spec": {"policyTypes": ["Egress"]}}, 2),
        ({"spec": {"policyTypes": ["Egress"]}}, 2),
    ]
    for patch, generation in patches:
        answer = await client.do("PATCH", f"{POLICIES}/p", patch, media_type=MERGE)
        assert answer.body["metadata"]["generation"] == generation
    assert "generation" not in (await client.get("/api/v1/namespaces/default")).body["metadata"]


async def test_write_that_changes_nothing_has_no_version(client: RawClient, server: ApiServer) -> None:
    created = (await client.post(POLICIES, policy("p", {"podSelector": {}}))).body
    before = server.resource_version
    backwards = {name: created[name] for name in reversed(created)}
    answer = await client.do("PUT", f"{POLICIES}/p", backwards)
    assert (answer.code, answer.body) == (200, created)
    unversioned = await client.do("PUT", f"{POLICIES}/p", policy("p", created["spec"]))
    assert (unversioned.code, unversioned.body) == (200, created)
    assert server.resource_version == before


async def test_update_against_an_old_version_conflicts(client: RawClient) -> None:
    created = (await client.post(CONFIGMAPS, configmap("a"))).body
    current = await client.do("PUT", f"{CONFIGMAPS}/a", {**created, "data": {"k": "1"}})
    assert current.code == 200
    stale = await client.do("PUT", f"{CONFIGMAPS}/a", {**created, "data": {"k": "2"}})
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert stale.body["details"] == {"name": "a", "kind": "configmaps"}
    patch = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "data": {"k": "3"}}
    assert (await client.do("PATCH", f"{CONFIGMAPS}/a", patch, media_type=MERGE)).code == 409
    unconditional = await client.do("PUT", f"{CONFIGMAPS}/a", {**configmap("a"), "data": {"k": "4"}})
    assert (unconditional.code, unconditional.body["data"]) == (200, {"k": "4"})
    assert unconditional.body["metadata"]["uid"] == created["metadata"]["uid"]


async def test_update_of_another_object_of_that_name_conflicts(client: RawClient) -> None:
    await client.post(CONFIGMAPS, configmap("a"))
    answer = await client.do("PUT", f"{CONFIGMAPS}/a", configmap("a", uid="another"))
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")


async def test_lease_must_name_its_version_and_may_be_created_by_put(client: RawClient) -> None:
    lease = {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}}
    created = await client.do("PUT", f"{LEASES}/lock", lease)
    assert created.code == 201
    unversioned = await client.do("PUT", f"{LEASES}/lock", lease)
    assert (unversioned.code, unversioned.faults) == (
        422,
        {"metadata.resourceVersion": "Invalid value: 0: must be specified for an update"},
    )
    held = {**created.body, "spec": {"holderIdentity": "b"}}
    assert (await client.do("PUT", f"{LEASES}/lock", held)).code == 200
    assert (await client.do("PUT", f"{LEASES}/lock", held)).code == 409


REFUSED = [
    ("POST", PODS, pod("taken"), 409, "AlreadyExists"),
    ("POST", "/api/v1/namespaces/nowhere/pods", pod("a"), 404, "NotFound"),
    ("POST", PODS, pod("a", namespace="other"), 400, "BadRequest"),
    ("POST", PODS, {**pod("a"), "kind": "Node"}, 400, "BadRequest"),
    ("POST", PODS, {**pod("a"), "apiVersion": "v2"}, 400, "BadRequest"),
    ("POST", PODS, {**pod("a"), "metadata": []}, 400, "BadRequest"),
    ("POST", PODS, pod("a", annotations={"x": 1}), 400, "BadRequest"),
    ("POST", PODS, {**pod("a"), "spec": "x"}, 400, "BadRequest"),
    ("POST", PODS, [], 400, "BadRequest"),
    ("POST", PODS, pod("a", resourceVersion="1"), 400, "BadRequest"),
    ("POST", PODS, pod(""), 422, "Invalid"),
    ("PUT", f"{PODS}/missing", pod("missing"), 404, "NotFound"),
    ("PUT", f"{PODS}/taken", pod("other"), 400, "BadRequest"),
    ("PUT", f"{PODS}/taken", pod("taken", resourceVersion="x"), 422, "Invalid"),
    ("GET", f"{PODS}/missing", None, 404, "NotFound"),
    ("DELETE", f"{PODS}/missing", None, 404, "NotFound"),
]


@pytest.mark.parametrize(("method", "path", "document", "code", "reason"), REFUSED)
async def test_refusal_is_a_status_with_its_reason(
    client: RawClient, server: ApiServer, method: str, path: str, document: object, code: int, reason: str
) -> None:
    server.create(pod("taken"))
    before = server.resource_version
    answer = await client.do(method, path, document)
    assert (answer.code, answer.body["reason"], answer.body["status"]) == (code, reason, "Failure")
    assert server.resource_version == before


async def test_not_found_names_group_and_resource(client: RawClient) -> None:
    answer = await client.get(f"{POLICIES}/p")
    assert answer.body["message"] == 'networkpolicies.networking.k8s.io "p" not found'
    assert answer.body["details"] == {"name": "p", "group": "networking.k8s.io", "kind": "networkpolicies"}


async def test_body_is_what_its_media_type_says(client: RawClient) -> None:
    text = b"metadata: {name: a}\ndata: {k: v}\n"
    codes = {}
    for media_type in ("application/yaml", "text/plain", "application/vnd.kubernetes.protobuf"):
        async with client.session.post(
            CONFIGMAPS, data=text, headers={"Content-Type": media_type}
        ) as response:
            codes[media_type] = response.status
    assert list(codes.values()) == [201, 415, 400]


async def test_body_over_three_mebibytes_is_refused(client: RawClient) -> None:
    answer = await client.post(CONFIGMAPS, {**configmap("a"), "data": {"k": "x" * (3 * 1024 * 1024)}})
    assert (answer.code, answer.body["reason"]) == (413, "RequestEntityTooLarge")


async def test_dry_run_shows_the_result_and_stores_nothing(client: RawClient, server: ApiServer) -> None:
    server.create(configmap("a"))
    before, query = server.resource_version, {"dryRun": "All"}
    made = await client.do("POST", CONFIGMAPS, configmap("b"), query=query)
    changed = await client.do("PUT", f"{CONFIGMAPS}/a", {**configmap("a"), "data": {"k": "1"}}, query=query)
    gone = await client.do("DELETE", f"{CONFIGMAPS}/a", query=query)
    assert (made.code, changed.body["data"], gone.code) == (201, {"k": "1"}, 200)
    assert (await client.get(CONFIGMAPS)).names == ["a"]
    assert server.resource_version == before


async def test_status_and_the_rest_are_written_apart(client: RawClient) -> None:
    await client.post(PODS, {**pod("web"), "status": {"phase": "Running"}})
    running = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    of_status = await client.do("PATCH", f"{PODS}/web/status", running, media_type=MERGE)
    assert of_status.body["status"] == {"phase": "Running"}
    assert "nodeName" not in of_status.body["spec"]
    failed = {"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}
    of_main = await client.do("PATCH", f"{PODS}/web", failed, media_type=MERGE)
    assert (of_main.body["status"], of_main.body["spec"]["nodeName"]) == ({"phase": "Running"}, "n")


def test_in_process_writes_set_status_and_apply_creates_or_replaces() -> None:
    server = ApiServer()
    running = {**pod("web"), "status": {"phase": "Running", "podIP": "10.0.0.1"}}
    created = server.apply(running)
    assert created["status"]["podIP"] == "10.0.0.1"
    replaced = server.apply({**created, "status": {"phase": "Failed"}})
    assert replaced["status"] == {"phase": "Failed"}
    assert replaced["metadata"]["uid"] == created["metadata"]["uid"]
    server.delete("Pod", "web")
    with pytest.raises(ApiError, match='pods "web" not found'):
        server.get("Pod", "web")


async def test_namespaces_start_active_and_always_carry_their_name(client: RawClient) -> None:
    listed = await client.get("/api/v1/namespaces")
    assert listed.names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    label = {"kubernetes.io/metadata.name": "shop"}
    made = await client.post("/api/v1/namespaces", namespace("shop", labels={"team": "a"}))
    assert made.body["metadata"]["labels"] == {"team": "a", **label}
    assert made.body["status"] == {"phase": "Active"}
    patch = {"metadata": {"labels": None}}
    patched = await client.do("PATCH", "/api/v1/namespaces/shop", patch, media_type=MERGE)
    assert patched.body["metadata"]["labels"] == label


async def test_secret_text_is_stored_encoded(client: RawClient) -> None:
    made = await client.post(
        "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}}
    )
    assert (made.body["data"], made.body["type"]) == ({"k": "dg=="}, "Opaque")
    assert "stringData" not in made.body


async def test_event_is_one_object_in_both_groups(client: RawClient) -> None:
    about = {"kind": "Pod", "namespace": "default", "name": "web"}
    event = {"metadata": {"generateName": "e-"}, "involvedObject": about, "reason": "Bad", "message": "why"}
    made = await client.post("/api/v1/namespaces/default/events", event)
    name = made.body["metadata"]["name"]
    seen = await client.get(f"/apis/events.k8s.io/v1/namespaces/default/events/{name}")
    assert (seen.body["regarding"], seen.body["note"]) == (about, "why")
    assert seen.body["apiVersion"] == "events.k8s.io/v1"
    noted = {"note": "because"}
    path = f"/apis/events.k8s.io/v1/namespaces/default/events/{name}"
    await client.do("PATCH", path, noted, media_type=MERGE)
    assert (await client.get(f"/api/v1/namespaces/default/events/{name}")).body["message"] == "because"
    selected = await client.get("/api/v1/events", fieldSelector="involvedObject.name=web,reason=Bad")
    assert selected.names == [name]
    selected = await client.get("/apis/events.k8s.io/v1/events", fieldSelector="regarding.name!=web")
    assert selected.names == []


async def test_server_that_comes_back_still_has_its_objects() -> None:
    server = ApiServer()
    for listening in range(2):
        async with server.listening("127.0.0.1", 0), aiohttp.ClientSession(server.url) as session:
            client = RawClient(session)
            assert (await client.post(CONFIGMAPS, configmap(f"c{listening}"))).code == 201
    assert [one["metadata"]["name"] for one in server.list("ConfigMap")] == ["c0", "c1"]
