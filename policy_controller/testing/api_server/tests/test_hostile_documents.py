"""Whatever JSON arrives, the answer is an object or a refusal, never an internal error."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import RESOURCES, Keeping
from policy_controller.testing.api_server.tests.raw import pod, policy
from policy_controller.testing.api_server.tests.samples import sample

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)

POLICY_SPEC: JsonObject = {
    "podSelector": {
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
    },
    "ingress": [
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1}]}
    ],
    "egress": [
        {"to": [{"podSelector": {}, "namespaceSelector": {}}], "ports": [{"port": "a", "protocol": "UDP"}]}
    ],
    "policyTypes": ["Ingress"],
}
CONTAINER: JsonObject = {"name": "a", "ports": [{"name": "x", "containerPort": 1, "protocol": "TCP"}]}
FULL_METADATA: JsonObject = {
    "name": "x",
    "generateName": "x-",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["example.com/x"],
    "ownerReferences": [],
}


WITH_PHASE = {"Namespace", "Node", "Pod"}


def _documents() -> list[JsonObject]:
    rich = {
        "NetworkPolicy": policy("x", POLICY_SPEC),
        "Pod": {
            **pod("x"),
            "spec": {"containers": [CONTAINER], "initContainers": [CONTAINER], "nodeName": "n"},
        },
        "Secret": {"stringData": {"a": "b"}, "data": {"c": "ZA=="}},
    }
    documents = []
    for row in RESOURCES:
        if row.keeping is not Keeping.STORED:
            continue
        body = sample(row.api_version, row.kind) | rich.get(row.kind, {})
        status = {"status": {"phase": "Running"}} if row.kind in WITH_PHASE else {}
        documents.append({**body, "metadata": FULL_METADATA, **status})
    return documents


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _with(document: JsonObject, place: tuple[Any, ...], value: object) -> JsonObject:
    changed: JsonObject = copy.deepcopy(document)
    at: Any = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return changed


# apiVersion and kind decide where an in-process write goes; over HTTP the path does.
PLACES = [
    (document, place)
    for document in _documents()
    for place in _places(document)
    if place and place[0] not in {"apiVersion", "kind"} and place != ("metadata",)
]


@pytest.mark.parametrize("validate", [True, False])
@given(case=st.sampled_from(PLACES), value=JSON)
def test_any_document_is_stored_or_refused(
    validate: bool, case: tuple[JsonObject, tuple[Any, ...]], value: object
) -> None:
    document, place = case
    server = ApiServer(validate=validate)
    before = server.apply(document)
    for write, name in ((server.apply, "x"), (server.create, "y")):
        with contextlib.suppress(ApiError):
            stored = write(_with(_with(document, ("metadata", "name"), name), place, value))
            assert stored["metadata"]["resourceVersion"] == str(server.resource_version)
    server.delete(before["kind"], before["metadata"]["name"])
