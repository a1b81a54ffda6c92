"""LIST: selectors, pages and versions."""

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import (
    CONFIGMAPS,
    PODS,
    RawClient,
    configmap,
    namespace,
    pod,
)


async def test_list_has_kind_and_version_and_its_items_have_neither(
    client: RawClient, server: ApiServer
) -> None:
    server.create(pod("web"))
    answer = await client.get("/api/v1/pods")
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("PodList", "v1")
    assert answer.body["metadata"] == {"resourceVersion": str(server.resource_version)}
    assert list(answer.body["items"][0]) == ["metadata", "spec", "status"]
    empty = await client.get("/apis/networking.k8s.io/v1/networkpolicies")
    assert (empty.body["kind"], empty.body["items"]) == ("NetworkPolicyList", [])


async def test_lists_are_ordered_by_namespace_and_name_as_etcd_orders_keys(
    client: RawClient, server: ApiServer
) -> None:
    for space in ("a", "a-b", "b"):
        server.create(namespace(space))
    for space, name in (("b", "x"), ("a", "x"), ("a-b", "y"), ("a", "b"), ("a-b", "x.z")):
        server.create(configmap(name, namespace=space))
    everywhere = await client.get("/api/v1/configmaps")
    places = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everywhere.body["items"]]
    assert places == [("a-b", "x.z"), ("a-b", "y"), ("a", "b"), ("a", "x"), ("b", "x")]
    assert (await client.get("/api/v1/namespaces/a/configmaps")).names == ["b", "x"]


LABEL_SELECTORS = [
    ("", ["both", "none", "prod", "test"]),
    ("env=prod", ["both", "prod"]),
    ("env==prod", ["both", "prod"]),
    ("env = prod", ["both", "prod"]),
    ("env!=prod", ["none", "test"]),
    ("env in (prod, test)", ["both", "prod", "test"]),
    ("env in (test)", ["test"]),
    ("env notin (prod)", ["none", "test"]),
    ("env", ["both", "prod", "test"]),
    ("!env", ["none"]),
    ("! env", ["none"]),
    ("env=prod,tier", ["both"]),
    ("env in (prod,test),!tier", ["prod", "test"]),
    ("env,env!=test", ["both", "prod"]),
    ("tier=", ["both"]),
    ("tier in ()", ["both"]),
    ("example.com/key notin (a,b)", ["both", "none", "prod", "test"]),
]


@pytest.fixture
def labelled(server: ApiServer) -> None:
    for name, labels in (
        ("prod", {"env": "prod"}),
        ("test", {"env": "test"}),
        ("none", {}),
        ("both", {"env": "prod", "tier": ""}),
    ):
        server.create(configmap(name, labels=labels))


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize(("selector", "names"), LABEL_SELECTORS)
async def test_label_selector_selects(client: RawClient, selector: str, names: list[str]) -> None:
    assert (await client.get(CONFIGMAPS, labelSelector=selector)).names == names


FIELD_SELECTORS = [
    ("", ["done", "idle", "web"]),
    ("metadata.name=web", ["web"]),
    ("metadata.name=web,", ["web"]),
    ("metadata.namespace=default", ["done", "idle", "web"]),
    ("spec.nodeName=n1", ["done", "web"]),
    ("spec.nodeName==n1,status.phase!=Succeeded", ["web"]),
    ("spec.nodeName=", ["idle"]),
    ("spec.hostNetwork=true", ["web"]),
    ("spec.hostNetwork=false", ["done", "idle"]),
    ("status.podIP=10.0.0.1", ["web"]),
    ("metadata.name=a\\,b", []),
]


@pytest.fixture
def scheduled(server: ApiServer) -> None:
    web = pod("web", node="n1")
    web["spec"]["hostNetwork"] = True
    server.create({**web, "status": {"phase": "Running", "podIP": "10.0.0.1"}})
    server.create({**pod("done", node="n1"), "status": {"phase": "Succeeded"}})
    server.create(pod("idle"))


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize(("selector", "names"), FIELD_SELECTORS)
async def test_field_selector_selects(client: RawClient, selector: str, names: list[str]) -> None:
    assert (await client.get(PODS, fieldSelector=selector)).names == names


@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "a=b=c"},
        {"labelSelector": "a b"},
        {"labelSelector": "=a"},
        {"labelSelector": "a,,b"},
        {"labelSelector": "a in b"},
        {"labelSelector": "a in (b"},
        {"labelSelector": "-a"},
        {"labelSelector": "a=-b"},
        {"fieldSelector": "spec.image=x"},
        {"fieldSelector": "metadata.name"},
        {"limit": "x"},
        {"resourceVersion": "x"},
        {"resourceVersion": "-1"},
        {"continue": "nonsense"},
        {"continue": "e30"},
        {"watch": "true", "resourceVersion": "x"},
        {"watch": "true", "labelSelector": "a=b=c"},
    ],
)
async def test_malformed_query_is_a_bad_request(client: RawClient, query: dict[str, str]) -> None:
    answer = await client.get(PODS, **query)
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")


CONTRADICTIONS = [
    {"resourceVersionMatch": "Exact"},
    {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
    {"resourceVersionMatch": "Newest", "resourceVersion": "1"},
    {"sendInitialEvents": "true"},
    {"watch": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "1"},
    {"watch": "true", "sendInitialEvents": "true"},
]


@pytest.mark.parametrize("query", CONTRADICTIONS)
async def test_contradictory_options_are_invalid(client: RawClient, query: dict[str, str]) -> None:
    answer = await client.get(PODS, **query)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")


@pytest.fixture
def seven(server: ApiServer) -> None:
    for number in range(7):
        server.create(configmap(f"c{number}", labels={"odd": str(number % 2)}))


@pytest.mark.usefixtures("seven")
async def test_pages_show_the_moment_of_the_first(client: RawClient, server: ApiServer) -> None:
    first = await client.get(CONFIGMAPS, limit="3")
    metadata = first.body["metadata"]
    assert (first.names, metadata["remainingItemCount"]) == (["c0", "c1", "c2"], 4)
    server.delete("ConfigMap", "c4")
    server.delete("ConfigMap", "c0")
    server.create(configmap("c45"))
    changed = server.get("ConfigMap", "c5")
    server.apply({**changed, "data": {"k": "new"}})
    second = await client.get(CONFIGMAPS, **{"limit": "3", "continue": metadata["continue"]})
    third = await client.get(CONFIGMAPS, **{"limit": "3", "continue": second.body["metadata"]["continue"]})
    assert second.names + third.names == ["c3", "c4", "c5", "c6"]
    assert second.body["items"][2]["data"] == {}
    versions = {page.body["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert versions == {metadata["resourceVersion"]}
    assert "continue" not in third.body["metadata"]
    assert (await client.get(CONFIGMAPS)).names == ["c1", "c2", "c3", "c45", "c5", "c6"]


@pytest.mark.usefixtures("seven")
async def test_pages_of_a_selector_count_what_it_selects(client: RawClient) -> None:
    first = await client.get(CONFIGMAPS, limit="3", labelSelector="odd=0")
    assert first.names == ["c0", "c2", "c4"]
    assert "remainingItemCount" not in first.body["metadata"]
    token = first.body["metadata"]["continue"]
    second = await client.get(CONFIGMAPS, **{"limit": "3", "labelSelector": "odd=0", "continue": token})
    assert (second.names, "continue" in second.body["metadata"]) == (["c6"], False)


@pytest.mark.usefixtures("seven")
async def test_expired_continue_is_gone_and_offers_an_inconsistent_rest(
    client: RawClient, server: ApiServer
) -> None:
    token = (await client.get(CONFIGMAPS, limit="3")).body["metadata"]["continue"]
    server.create(configmap("c55"))
    server.compact()
    gone = await client.get(CONFIGMAPS, **{"limit": "3", "continue": token})
    assert (gone.code, gone.body["reason"]) == (410, "Expired")
    rest = await client.get(CONFIGMAPS, **{"continue": gone.body["metadata"]["continue"]})
    assert rest.names == ["c3", "c4", "c5", "c55", "c6"]
    with_version = await client.get(CONFIGMAPS, **{"continue": token, "resourceVersion": "3"})
    assert with_version.code == 400


async def test_version_of_a_list_is_unset_any_at_least_or_exact(client: RawClient, server: ApiServer) -> None:
    server.create(configmap("a"))
    old = str(server.resource_version)
    server.create(configmap("b"))
    reads = [
        ({}, ["a", "b"]),
        ({"resourceVersion": "0"}, ["a", "b"]),
        ({"resourceVersion": old}, ["a", "b"]),
        ({"resourceVersion": old, "resourceVersionMatch": "NotOlderThan"}, ["a", "b"]),
        ({"resourceVersion": old, "resourceVersionMatch": "Exact"}, ["a"]),
        ({"resourceVersion": old, "limit": "5"}, ["a"]),
        ({"resourceVersion": "0", "limit": "5"}, ["a", "b"]),
    ]
    for query, names in reads:
        assert (await client.get(CONFIGMAPS, **query)).names == names
    future = await client.get(CONFIGMAPS, resourceVersion=str(server.resource_version + 1))
    assert future.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert future.code == 504
    server.compact()
    exact = {"resourceVersion": old, "resourceVersionMatch": "Exact"}
    gone = await client.get(CONFIGMAPS, **exact)
    assert (gone.code, gone.body["reason"]) == (410, "Expired")
