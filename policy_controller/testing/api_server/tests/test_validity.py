"""Names, labels, pods and events: what is legal."""

from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import PODS, RawClient, namespace, pod

LONG = "a" * 254
NAMES = [
    # name, legal for a namespace (DNS-1123 label), legal for a pod (DNS-1123 subdomain)
    ("a", True, True),
    ("0-a", True, True),
    ("a.b", False, True),
    ("a" * 63, True, True),
    ("a" * 64, False, True),
    (LONG, False, False),
    ("A", False, False),
    ("a_b", False, False),
    ("-a", False, False),
    ("a-", False, False),
    ("a..b", False, False),
    ("a/b", False, False),
    ("a\n", False, False),
    ("ä", False, False),
]


@pytest.mark.parametrize(("name", "as_namespace", "as_pod"), NAMES)
async def test_names_follow_their_kind(
    client: RawClient, name: str, as_namespace: bool, as_pod: bool
) -> None:
    for path, document, legal in (
        ("/api/v1/namespaces", namespace(name), as_namespace),
        (PODS, pod(name), as_pod),
    ):
        answer = await client.post(path, document)
        assert answer.code == (201 if legal else 422)
        if not legal:
            assert "metadata.name" in answer.faults


METADATA: list[tuple[dict[str, Any], str]] = [
    ({"labels": {"a b": "v"}}, "metadata.labels"),
    ({"labels": {"/a": "v"}}, "metadata.labels"),
    ({"labels": {"UPPER.example/a": "v"}}, "metadata.labels"),
    ({"labels": {"a" * 64: "v"}}, "metadata.labels"),
    ({"labels": {"a": "v/v"}}, "metadata.labels"),
    ({"labels": {"a": "v" * 64}}, "metadata.labels"),
    ({"labels": {"a": "v\n"}}, "metadata.labels"),
    ({"annotations": {"a b": "anything"}}, "metadata.annotations"),
    ({"annotations": {"a": "x" * 262_144}}, "metadata.annotations"),
    ({"finalizers": ["a b"]}, "metadata.finalizers"),
]


@pytest.mark.parametrize(("metadata", "field"), METADATA)
async def test_illegal_metadata_is_rejected_and_stored_without_validation(
    client: RawClient, metadata: dict[str, Any], field: str
) -> None:
    document = pod("web")
    document["metadata"].update(metadata)
    answer = await client.post(PODS, document)
    assert (answer.code, list(answer.faults)) == (422, [field])
    stored = ApiServer(validate=False).create(document)
    assert {name: stored["metadata"][name] for name in metadata} == metadata


async def test_legal_metadata_is_accepted(client: RawClient) -> None:
    labels = {"a": "", "example.com/A_b.c": "V-1.2_3", "x" * 63: "y" * 63}
    document = pod("web", labels=labels, annotations={"Example.com/any": "\x1b[31m <script>"})
    answer = await client.post(PODS, document)
    assert (answer.code, answer.body["metadata"]["labels"]) == (201, labels)


CONTAINERS: list[tuple[Any, str]] = [
    ([], "spec.containers"),
    ([{}], "spec.containers[0].name"),
    ([{"name": "A"}], "spec.containers[0].name"),
    ([{"name": "a", "ports": [{}]}], "spec.containers[0].ports[0].containerPort"),
    ([{"name": "a", "ports": [{"containerPort": 65536}]}], "spec.containers[0].ports[0].containerPort"),
    (
        [{"name": "a", "ports": [{"containerPort": 1, "protocol": "ICMP"}]}],
        "spec.containers[0].ports[0].protocol",
    ),
    ([{"name": "a", "ports": [{"containerPort": 1, "name": "-"}]}], "spec.containers[0].ports[0].name"),
    (
        [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]}],
        "spec.containers[0].ports[1].name",
    ),
]


@pytest.mark.parametrize(("containers", "field"), CONTAINERS)
async def test_malformed_containers_are_rejected_by_field(
    client: RawClient, containers: object, field: str
) -> None:
    document = {**pod("web"), "spec": {"containers": containers}}
    answer = await client.post(PODS, document)
    assert answer.code == 422
    assert field in answer.faults
    assert ApiServer(validate=False).create(document)["spec"] == document["spec"]


async def test_pod_gets_the_defaults_of_ports_and_spec(client: RawClient) -> None:
    ports = [{"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP"}]
    document = {**pod("web"), "spec": {"containers": [{"name": "a", "ports": ports}]}}
    spec = (await client.post(PODS, document)).body["spec"]
    assert [port["protocol"] for port in spec["containers"][0]["ports"]] == ["TCP", "UDP"]
    assert (spec["terminationGracePeriodSeconds"], spec["restartPolicy"]) == (30, "Always")


EVENTS = [
    # namespace of the event, namespace of the object, accepted
    ("default", "default", True),
    ("default", "", True),
    ("kube-public", "", False),
    ("default", "kube-public", False),
]


@pytest.mark.parametrize(("own", "about", "accepted"), EVENTS)
async def test_event_lives_where_its_object_lives(
    client: RawClient, own: str, about: str, accepted: bool
) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "X", "name": "x", "namespace": about}}
    answer = await client.post(f"/api/v1/namespaces/{own}/events", event)
    assert answer.code == (201 if accepted else 422)
