"""Deletion: grace, finalizers, preconditions, collections and namespaces."""

import datetime
from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
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

SHOP = "/api/v1/namespaces/shop"


async def test_object_without_finalizers_goes_at_once_and_a_status_answers(client: RawClient) -> None:
    made = await client.post(POLICIES, policy("p", {}))
    answer = await client.do("DELETE", f"{POLICIES}/p")
    assert (answer.code, answer.body["status"]) == (200, "Success")
    assert answer.body["details"]["uid"] == made.body["metadata"]["uid"]
    assert (await client.get(f"{POLICIES}/p")).code == 404


GRACE: list[tuple[dict[str, Any], dict[str, Any], int | None]] = [
    # of the pod's spec and status, DeleteOptions, seconds it is given (None: gone at once)
    ({"spec": {}}, {}, None),
    ({"spec": {}}, {"gracePeriodSeconds": 30}, None),
    ({"spec": {"nodeName": "n"}}, {}, 30),
    ({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7}}, {}, 7),
    ({"spec": {"nodeName": "n"}}, {"gracePeriodSeconds": 5}, 5),
    ({"spec": {"nodeName": "n"}}, {"gracePeriodSeconds": 0}, None),
    ({"spec": {"nodeName": "n"}}, {"gracePeriodSeconds": -1}, 1),
    ({"spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}}, {}, None),
    ({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}, {"gracePeriodSeconds": 9}, None),
]


@pytest.mark.parametrize(("fields", "options", "seconds"), GRACE)
async def test_pod_on_a_node_is_given_its_grace(
    client: RawClient, server: ApiServer, fields: dict[str, Any], options: dict[str, Any], seconds: int | None
) -> None:
    document = pod("web")
    document["spec"] |= fields["spec"]
    server.create({**document, "status": fields.get("status", {"phase": "Running"})})
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    answer = await client.do("DELETE", f"{PODS}/web", options or None)
    assert (answer.code, answer.body["kind"]) == (200, "Pod")
    left = await client.get(f"{PODS}/web")
    if seconds is None:
        assert left.code == 404
        return
    metadata = left.body["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == seconds
    due = datetime.datetime.fromisoformat(metadata["deletionTimestamp"])
    assert datetime.timedelta(seconds=seconds) <= due - before <= datetime.timedelta(seconds=seconds + 5)


async def test_terminating_pod_stays_until_its_node_confirms(client: RawClient) -> None:
    await client.post(PODS, pod("web", node="n"))
    first = await client.do("DELETE", f"{PODS}/web")
    again = await client.do("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 60})
    assert again.body == first.body
    shorter = await client.do("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 3})
    assert shorter.body["metadata"]["deletionGracePeriodSeconds"] == 3
    confirmed = await client.do("DELETE", f"{PODS}/web", query={"gracePeriodSeconds": "0"})
    assert confirmed.code == 200
    assert (await client.get(PODS)).names == []


async def test_finalizers_hold_an_object_until_the_last_is_removed(client: RawClient) -> None:
    await client.post(CONFIGMAPS, configmap("a", finalizers=["example.com/x", "example.com/y"]))
    held = await client.do("DELETE", f"{CONFIGMAPS}/a")
    assert held.body["metadata"]["deletionTimestamp"]
    assert (await client.do("DELETE", f"{CONFIGMAPS}/a")).body == held.body

    def finalizers(*names: str) -> dict[str, Any]:
        return {"metadata": {"finalizers": list(names) or None}}

    added = await client.do("PATCH", f"{CONFIGMAPS}/a", finalizers("example.com/z"), media_type=MERGE)
    assert (added.code, list(added.faults)) == (422, ["metadata.finalizers"])
    one_left = await client.do("PATCH", f"{CONFIGMAPS}/a", finalizers("example.com/y"), media_type=MERGE)
    assert one_left.code == 200
    assert (await client.get(CONFIGMAPS)).names == ["a"]
    await client.do("PATCH", f"{CONFIGMAPS}/a", finalizers(), media_type=MERGE)
    assert (await client.get(CONFIGMAPS)).names == []


async def test_pod_with_finalizer_outlives_its_grace(client: RawClient) -> None:
    await client.post(PODS, pod("web", node="n", finalizers=["example.com/x"]))
    for options in ({}, {"gracePeriodSeconds": 0}, {"gracePeriodSeconds": 0}):
        assert (await client.do("DELETE", f"{PODS}/web", options)).code == 200
        assert (await client.get(PODS)).names == ["web"]
    await client.do("PATCH", f"{PODS}/web", {"metadata": {"finalizers": None}}, media_type=MERGE)
    assert (await client.get(PODS)).names == []


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_precondition_guards_a_delete(client: RawClient, field: str) -> None:
    made = await client.post(CONFIGMAPS, configmap("a"))
    wrong = await client.do("DELETE", f"{CONFIGMAPS}/a", {"preconditions": {field: "7"}})
    assert (wrong.code, wrong.body["reason"]) == (409, "Conflict")
    right = {"preconditions": {field: made.body["metadata"][field]}}
    assert (await client.do("DELETE", f"{CONFIGMAPS}/a", right)).code == 200


async def test_collection_is_deleted_by_selector(client: RawClient, server: ApiServer) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        server.create(configmap(name, labels={"app": app}))
        server.create(configmap(name, labels={"app": app}, namespace="kube-public"))
    answer = await client.do("DELETE", CONFIGMAPS, query={"labelSelector": "app=x"})
    assert (answer.code, answer.body["kind"], answer.names) == (200, "ConfigMapList", ["a", "c"])
    assert (await client.get(CONFIGMAPS)).names == ["b"]
    assert (await client.get("/api/v1/namespaces/kube-public/configmaps")).names == ["a", "b", "c"]


async def test_namespace_terminates_with_its_content(client: RawClient, server: ApiServer) -> None:
    server.create(namespace("shop"))
    server.create(configmap("a", namespace="shop"))
    server.create(pod("web", node="n", namespace="shop"))
    marked = await client.do("DELETE", SHOP)
    assert (marked.code, marked.body["status"]["phase"]) == (200, "Terminating")
    assert (await client.get(f"{SHOP}/configmaps")).names == []
    refused = await client.post(f"{SHOP}/pods", pod("late"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    assert (await client.get(SHOP)).code == 200
    server.delete("Pod", "web", "shop")
    assert (await client.get(SHOP)).code == 404


async def test_empty_namespace_goes_at_once_and_its_finalizers_hold_it(
    client: RawClient, server: ApiServer
) -> None:
    server.create(namespace("shop"))
    await client.do("DELETE", SHOP)
    assert (await client.get(SHOP)).code == 404
    server.create(namespace("shop", finalizers=["example.com/x"]))
    await client.do("DELETE", SHOP)
    assert (await client.get(SHOP)).body["status"]["phase"] == "Terminating"
    await client.do("PATCH", SHOP, {"metadata": {"finalizers": None}}, media_type=MERGE)
    assert (await client.get(SHOP)).code == 404


@pytest.mark.parametrize("name", ["default", "kube-public", "kube-system"])
async def test_namespaces_of_the_cluster_itself_stay(client: RawClient, name: str) -> None:
    answer = await client.do("DELETE", f"/api/v1/namespaces/{name}")
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
