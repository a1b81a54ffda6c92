"""Server-side apply: who owns what, what conflicts, what goes when nobody wants it any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import (
    CONFIGMAPS,
    JSON_PATCH,
    MERGE,
    Answer,
    RawClient,
    pod,
)
from policy_controller.testing.api_server.tests.samples import sample

APPLY = "application/apply-patch+yaml"
PODS = "/api/v1/namespaces/default/pods"


@dataclass(frozen=True, slots=True)
class Manager:
    """A client that applies under its name."""

    client: RawClient
    name: str

    async def apply(self, path: str, document: object, **query: str) -> Answer:
        asked: Mapping[str, str] = {"fieldManager": self.name, **query}
        return await self.client.do("PATCH", path, document, media_type=APPLY, query=asked)


@pytest.fixture
def one(client: RawClient) -> Manager:
    return Manager(client, "one")


@pytest.fixture
def two(client: RawClient) -> Manager:
    return Manager(client, "two")


WEB = f"{CONFIGMAPS}/web"


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data}


def owned(answer: Answer) -> dict[tuple[str, str], Any]:
    """(manager, operation) -> fieldsV1."""
    entries = answer.body["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


async def test_apply_creates_and_owns_what_it_says(one: Manager) -> None:
    answer = await one.apply(WEB, config(a="1"))
    assert answer.code == 201
    assert owned(answer) == {("one", "Apply"): {"f:data": {"f:a": {}}}}


async def test_apply_of_the_same_changes_no_version(one: Manager) -> None:
    first = await one.apply(WEB, config(a="1"))
    again = await one.apply(WEB, config(a="1"))
    assert (again.code, again.body) == (200, first.body)


async def test_field_that_is_no_longer_applied_goes(one: Manager) -> None:
    await one.apply(WEB, config(a="1", b="2"))
    answer = await one.apply(WEB, config(a="1"))
    assert answer.body["data"] == {"a": "1"}


async def test_field_that_another_owns_too_stays(one: Manager, two: Manager) -> None:
    await one.apply(WEB, config(a="1", b="2"))
    assert (await two.apply(WEB, config(b="2"))).code == 200
    answer = await one.apply(WEB, config(a="1"))
    assert answer.body["data"] == {"a": "1", "b": "2"}
    assert owned(answer)["two", "Apply"] == {"f:data": {"f:b": {}}}


async def test_change_of_another_managers_field_is_a_conflict_with_its_name(
    one: Manager, two: Manager
) -> None:
    await one.apply(WEB, config(a="1", b="2"))
    answer = await two.apply(WEB, config(a="9", b="9"))
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one" using v1',
            "field": f".data.{name}",
        }
        for name in "ab"
    ]
    assert "Apply failed with 2 conflicts" in answer.body["message"]


async def test_force_takes_the_field_over(one: Manager, two: Manager) -> None:
    await one.apply(WEB, config(a="1", b="2"))
    answer = await two.apply(WEB, config(a="9"), force="true")
    assert (answer.code, answer.body["data"]) == (200, {"a": "9", "b": "2"})
    assert owned(answer) == {
        ("one", "Apply"): {"f:data": {"f:b": {}}},
        ("two", "Apply"): {"f:data": {"f:a": {}}},
    }
    # What was taken over does not go with its former owner's wish.
    assert (await one.apply(WEB, config(b="2"))).body["data"] == {"a": "9", "b": "2"}


async def test_update_takes_fields_without_asking(one: Manager, client: RawClient) -> None:
    await one.apply(WEB, config(a="1"))
    await client.do("PATCH", WEB, {"data": {"a": "2"}}, media_type=MERGE, query={"fieldManager": "three"})
    answer = await client.get(WEB)
    assert owned(answer) == {("three", "Update"): {"f:data": {"f:a": {}}}}
    refused = await one.apply(WEB, config(a="1"))
    assert 'conflict with "three"' in refused.body["message"]


async def test_manager_is_called_by_its_user_agent_when_it_does_not_say(client: RawClient) -> None:
    headers = {"User-Agent": "tool/1.0 (linux)"}
    async with client.session.post(CONFIGMAPS, json=config(a="1"), headers=headers) as response:
        body = await response.json()
    assert [entry["manager"] for entry in body["metadata"]["managedFields"]] == ["tool"]


async def test_objects_written_in_process_belong_to_nobody_until_somebody_applies(
    server: ApiServer, client: RawClient, one: Manager
) -> None:
    server.create(config(a="1"))
    await client.do("PATCH", WEB, {"data": {"b": "2"}}, media_type=MERGE)
    assert "managedFields" not in (await client.get(WEB)).body["metadata"]
    answer = await one.apply(WEB, config(a="1"))
    assert owned(answer)["before-first-apply", "Update"] == {"f:data": {"f:a": {}, "f:b": {}}}


async def test_items_of_lists_are_owned_by_their_keys(one: Manager, two: Manager) -> None:
    base = sample("v1", "Pod")
    await one.apply(f"{PODS}/web", base)
    sidecar = {"name": "sidecar", "image": "example.com/s:1"}
    theirs = {**pod("web"), "spec": {"containers": [sidecar]}}
    answer = await two.apply(f"{PODS}/web", theirs)
    assert [container["name"] for container in answer.body["spec"]["containers"]] == ["main", "sidecar"]
    image = {"name": "main", "image": "example.com/web:2"}
    answer = await two.apply(f"{PODS}/web", {**theirs, "spec": {"containers": [sidecar, image]}})
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [
        '.spec.containers[name="main"].image'
    ]
    gone = await two.apply(f"{PODS}/web", {**pod("web"), "spec": {}})
    assert [container["name"] for container in gone.body["spec"]["containers"]] == ["main"]


async def test_item_stays_with_its_key_when_another_owns_a_part_of_it(one: Manager, two: Manager) -> None:
    first = {**pod("web"), "spec": {"containers": [{"name": "main", "image": "x", "workingDir": "/a"}]}}
    await one.apply(f"{PODS}/web", {**first, "metadata": {"name": "web"}})
    part = {**pod("web"), "spec": {"containers": [{"name": "main", "image": "x"}]}}
    await two.apply(f"{PODS}/web", part)
    answer = await one.apply(f"{PODS}/web", {**pod("web"), "spec": {"hostNetwork": True}})
    (container,) = answer.body["spec"]["containers"]
    assert container == {"name": "main", "image": "x"}


async def test_selector_is_owned_as_a_whole(one: Manager, two: Manager) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    document = sample("apps/v1", "Deployment")
    answer = await one.apply(path, document)
    assert owned(answer)["one", "Apply"]["f:spec"]["f:selector"] == {}
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}
    answer = await two.apply(path, {**document, "spec": {"selector": selector}})
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [".spec.selector"]


async def test_item_stays_while_anybody_owns_a_field_in_it(one: Manager, client: RawClient) -> None:
    path = f"{PODS}/web"
    main = {"name": "main", "image": "x", "workingDir": "/a"}
    await one.apply(path, {**pod("web"), "spec": {"containers": [main, {"name": "side"}]}})
    patch = {"spec": {"containers": [{"name": "main", "image": "y"}]}}
    strategic = "application/strategic-merge-patch+json"
    await client.do("PATCH", path, patch, media_type=strategic, query={"fieldManager": "three"})
    answer = await one.apply(path, {**pod("web"), "spec": {"containers": [{"name": "side"}]}})
    assert answer.body["spec"]["containers"] == [{"name": "main", "image": "y"}, {"name": "side"}]


async def test_defaults_fill_what_is_no_longer_applied(one: Manager) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    document = sample("apps/v1", "Deployment")
    await one.apply(path, {**document, "spec": {**document["spec"], "replicas": 3}})
    answer = await one.apply(path, document)
    assert answer.body["spec"]["replicas"] == 1


async def test_status_is_applied_and_owned_by_itself(one: Manager) -> None:
    path = f"{PODS}/web"
    await one.apply(path, {**sample("v1", "Pod"), "status": {"phase": "Running"}})
    status = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "status": {"phase": "Running"}}
    answer = await one.apply(f"{path}/status", status)
    assert answer.body["status"]["phase"] == "Running"
    entries = answer.body["metadata"]["managedFields"]
    assert {entry.get("subresource", "") for entry in entries} == {"", "status"}


async def test_client_may_correct_ownership_itself(client: RawClient, one: Manager) -> None:
    made = await client.post(f"{CONFIGMAPS}?fieldManager=old", config(a="1"))
    assert owned(made)["old", "Update"] == {"f:data": {"f:a": {}}}
    entry = {**made.body["metadata"]["managedFields"][0], "manager": "one", "operation": "Apply"}
    corrected = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]
    await client.do("PATCH", WEB, corrected, media_type=JSON_PATCH)
    answer = await one.apply(WEB, config(b="2"))
    assert answer.body["data"] == {"b": "2"}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], int]] = {
    "no manager": (config(a="1"), {"fieldManager": ""}, 422),
    "another name": ({**config(), "metadata": {"name": "other"}}, {}, 400),
    "another kind": ({**config(), "kind": "Secret"}, {}, 400),
    "managed fields": (
        {**config(), "metadata": {"name": "web", "managedFields": [{"manager": "x"}]}},
        {},
        400,
    ),
    "wrong type": ({**config(), "data": []}, {}, 400),
    "unknown field": ({**config(), "daat": {}}, {"fieldValidation": "Strict"}, 400),
    "old version": ({**config(), "metadata": {"name": "web", "resourceVersion": "1"}}, {}, 409),
}


@pytest.mark.parametrize(("document", "query", "code"), REFUSED.values(), ids=list(REFUSED))
async def test_apply_that_is_malformed_is_refused(
    client: RawClient, one: Manager, document: dict[str, Any], query: dict[str, str], code: int
) -> None:
    before = (await client.post(CONFIGMAPS, config(a="1"))).body
    assert (await one.apply(WEB, document, **query)).code == code
    assert (await client.get(WEB)).body == before


async def test_dry_run_of_apply_stores_nothing(one: Manager, server: ApiServer) -> None:
    answer = await one.apply(WEB, config(a="1"), dryRun="All")
    assert (answer.code, answer.body["data"]) == (201, {"a": "1"})
    assert server.list("ConfigMap") == []
