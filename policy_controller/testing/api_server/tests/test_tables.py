"""Tables: what `kubectl get` is given to print."""

import datetime
from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.documents import JsonObject, at_rest
from policy_controller.testing.api_server.resources import BY_KIND
from policy_controller.testing.api_server.tables import Include, Table
from policy_controller.testing.api_server.tables.columns import human, selector
from policy_controller.testing.api_server.tests.raw import RawClient, pod
from policy_controller.testing.api_server.tests.samples import sample

AGES = [
    (-5, "<invalid>"),
    (-1, "0s"),
    (0, "0s"),
    (119, "119s"),
    (120, "2m"),
    (121, "2m1s"),
    (599, "9m59s"),
    (600, "10m"),
    (10_799, "179m"),
    (10_800, "3h"),
    (11_100, "3h5m"),
    (28_799, "7h59m"),
    (28_800, "8h"),
    (172_799, "47h"),
    (172_800, "2d"),
    (180_000, "2d2h"),
    (691_199, "7d23h"),
    (691_200, "8d"),
    (63_071_999, "729d"),
    (63_072_000, "2y"),
    (64_000_000, "2y10d"),
    (252_288_000, "8y"),
]


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_age_is_told_in_at_most_two_units(seconds: int, text: str) -> None:
    assert human(seconds) == text


SELECTORS: list[tuple[dict[str, Any], str]] = [
    ({}, "<none>"),
    ({"matchLabels": {"b": "1", "a": "2"}}, "a=2,b=1"),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}, "a in (x,y)"),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a notin (x)"),
    ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a"),
    ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a"),
    ({"matchExpressions": [{"key": "a", "operator": "x"}]}, "<error>"),
]


@pytest.mark.parametrize(("given", "text"), SELECTORS)
def test_selector_is_told_in_words_of_a_label_selector(given: dict[str, Any], text: str) -> None:
    assert selector(given) == text


NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
SOON = "2026-01-01T11:59:00Z"


def cells(document: JsonObject) -> dict[str, Any]:
    resource = BY_KIND[document["apiVersion"], document["kind"]]
    metadata = {"creationTimestamp": "2026-01-01T11:00:00Z", **document["metadata"]}
    table = Table(NOW, Include.NONE).document(resource, {}, [at_rest({**document, "metadata": metadata})])
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def _container(state: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON values
    return {"name": "main", "state": state, **more}


def _pod(status: dict[str, Any], **metadata: object) -> JsonObject:
    document = pod("web")
    document["metadata"].update(metadata)
    return {**document, "status": status}


RUNNING = {"phase": "Running"}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}
STATES: list[tuple[JsonObject, str, str, str]] = [
    # pod, ready, status, restarts
    (_pod({}), "0/1", "Unknown", "0"),
    (_pod({"phase": "Pending"}), "0/1", "Pending", "0"),
    (
        _pod({**RUNNING, "containerStatuses": [_container({"running": {}}, ready=True)]}),
        "1/1",
        "Running",
        "0",
    ),
    (_pod({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
    (
        _pod({**RUNNING, "containerStatuses": [_container(WAITING, restartCount=3)]}),
        "0/1",
        "CrashLoopBackOff",
        "3",
    ),
    (
        _pod(
            {
                **RUNNING,
                "containerStatuses": [
                    _container(
                        {"running": {}},
                        ready=True,
                        restartCount=2,
                        lastState={"terminated": {"finishedAt": SOON}},
                    )
                ],
            }
        ),
        "1/1",
        "Running",
        "2 (60s ago)",
    ),
    (
        _pod(
            {"phase": "Succeeded", "containerStatuses": [_container({"terminated": {"reason": "Completed"}})]}
        ),
        "0/1",
        "Completed",
        "0",
    ),
    (
        _pod({**RUNNING, "containerStatuses": [_container({"terminated": {"exitCode": 3}})]}),
        "0/1",
        "ExitCode:3",
        "0",
    ),
    (
        _pod({**RUNNING, "containerStatuses": [_container({"terminated": {"signal": 9}})]}),
        "0/1",
        "Signal:9",
        "0",
    ),
    (
        _pod({"phase": "Pending", "initContainerStatuses": [_container({"running": {}})]}),
        "0/1",
        "Init:0/1",
        "0",
    ),
    (
        _pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [_container({"waiting": {"reason": "ErrImagePull"}})],
            }
        ),
        "0/1",
        "Init:ErrImagePull",
        "0",
    ),
    (
        _pod({"phase": "Pending", "initContainerStatuses": [_container({"terminated": {"exitCode": 1}})]}),
        "0/1",
        "Init:ExitCode:1",
        "0",
    ),
    (_pod(RUNNING, deletionTimestamp=SOON), "0/1", "Terminating", "0"),
]


@pytest.mark.parametrize(("document", "ready", "status", "restarts"), STATES)
def test_pod_is_shown_in_the_state_it_is_in(
    document: JsonObject, ready: str, status: str, restarts: str
) -> None:
    found = cells(document)
    assert (found["Ready"], found["Status"], found["Restarts"], found["Age"]) == (
        ready,
        status,
        restarts,
        "60m",
    )


def _with(api_version: str, kind: str, **parts: Any) -> JsonObject:  # noqa: ANN401 - any JSON values
    return sample(api_version, kind) | parts


ADDRESSES = [{"type": "InternalIP", "address": "10.0.0.1"}]
READY = [{"type": "Ready", "status": "True"}]
BALANCED = {"type": "LoadBalancer", "clusterIP": "10.96.1.1", "ports": [{"port": 80, "nodePort": 30086}]}
CELLS: list[tuple[JsonObject, dict[str, Any]]] = [
    (
        _with(
            "v1",
            "Node",
            metadata={"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            spec={"unschedulable": True},
            status={"conditions": READY, "addresses": ADDRESSES, "nodeInfo": {"kubeletVersion": "v1.33.0"}},
        ),
        {
            "Status": "Ready,SchedulingDisabled",
            "Roles": "control-plane",
            "Version": "v1.33.0",
            "Internal-IP": "10.0.0.1",
            "External-IP": "<none>",
        },
    ),
    (_with("v1", "Node", status={}), {"Status": "Unknown", "Roles": "<none>"}),
    (_with("v1", "Service", spec=BALANCED), {"External-IP": "<pending>", "Port(s)": "80:30086/TCP"}),
    (
        _with("v1", "Service", spec=BALANCED, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        {"External-IP": "192.0.2.1", "Type": "LoadBalancer"},
    ),
    (
        _with("v1", "Service", spec={"type": "ExternalName", "externalName": "a.example"}),
        {"External-IP": "a.example"},
    ),
    (
        _with("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 0}),
        {"Min Available": 0, "Max Unavailable": "N/A"},
    ),
    (_with("v1", "Secret"), {"Type": "", "Data": 1}),
    (_with("v1", "ConfigMap", binaryData={"b": "AA=="}), {"Data": 2}),
    (_with("coordination.k8s.io/v1", "Lease"), {"Holder": "node-a"}),
    (_with("networking.k8s.io/v1", "NetworkPolicy"), {"Pod-Selector": "app=web"}),
    (
        _with("rbac.authorization.k8s.io/v1", "RoleBinding"),
        {"Role": "Role/web", "ServiceAccounts": "default/web"},
    ),
    (_with("discovery.k8s.io/v1", "EndpointSlice"), {"Ports": "8080", "Endpoints": "10.1.0.1"}),
    (_with("v1", "Endpoints"), {"Endpoints": "10.1.0.1:8080"}),
    (_with("v1", "Event", lastTimestamp=SOON), {"Last Seen": "60s", "Object": "pod/web", "Count": 1}),
    (
        _with("v1", "ResourceQuota", status={"hard": {"pods": "9"}, "used": {"pods": "3"}}),
        {"Request": "pods: 3/9"},
    ),
    (_with("batch/v1", "Job", status={"succeeded": 1}), {"Completions": "1/0", "Status": "Running"}),
    (_with("v1", "Service", spec=[]), {"Type": "", "Port(s)": "<none>"}),
    (_with("v1", "Service", spec={"ports": 7}), {"Port(s)": "<malformed>"}),
]


@pytest.mark.parametrize(("document", "expected"), CELLS)
def test_object_is_shown_by_its_columns(document: JsonObject, expected: dict[str, Any]) -> None:
    found = cells(document)
    assert {name: found[name] for name in expected} == expected


FORMS = {
    "table": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "part": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
}


async def test_list_is_a_table_with_what_is_asked_for_of_each_object(
    server: ApiServer, client: RawClient
) -> None:
    made = server.create(pod("web"))
    for include, kind in (("", "PartialObjectMetadata"), ("Object", "Pod"), ("None", None)):
        headers, query = {"Accept": FORMS["table"]}, {"includeObject": include}
        async with client.session.get("/api/v1/pods", headers=headers, params=query) as response:
            table = await response.json()
        assert (table["kind"], table["metadata"]["resourceVersion"]) == (
            "Table",
            str(server.resource_version),
        )
        shown = table["rows"][0]["object"]
        assert (shown and shown["kind"]) == kind
        assert not shown or shown["metadata"] == made["metadata"]


async def test_list_may_be_of_metadata_only(server: ApiServer, client: RawClient) -> None:
    made = server.create(pod("web"))
    async with client.session.get("/api/v1/pods", headers={"Accept": FORMS["part"]}) as response:
        body = await response.json()
    assert (body["kind"], body["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert [item["metadata"] for item in body["items"]] == [made["metadata"]]
    assert set(body["items"][0]) == {"kind", "apiVersion", "metadata"}
