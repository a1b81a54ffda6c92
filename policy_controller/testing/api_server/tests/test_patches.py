"""PATCH: merge and JSON patches."""

from typing import Any

import pytest

from policy_controller.testing.api_server.patches import merged
from policy_controller.testing.api_server.tests.raw import (
    CONFIGMAPS,
    JSON_PATCH,
    MERGE,
    RawClient,
    configmap,
)

# RFC 7386, appendix A: all its test cases.
RFC_7386: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "result"), RFC_7386)
def test_merge_patch_follows_the_rfc(document: object, patch: object, result: object) -> None:
    assert merged(document, patch) == result


JSON_PATCHES: list[tuple[Any, int, Any]] = [
    ([{"op": "add", "path": "/data/b", "value": "2"}], 200, {"a": "1", "b": "2"}),
    ([{"op": "replace", "path": "/data", "value": {}}], 200, {}),
    ([{"op": "remove", "path": "/data/a"}], 200, {}),
    ([{"op": "move", "from": "/data/a", "path": "/data/z"}], 200, {"z": "1"}),
    ([{"op": "copy", "from": "/data/a", "path": "/data/z"}], 200, {"a": "1", "z": "1"}),
    ([{"op": "test", "path": "/data/a", "value": "1"}], 200, {"a": "1"}),
    ([{"op": "test", "path": "/data/a", "value": "2"}], 422, None),
    ([{"op": "test", "path": "/kind", "value": "ConfigMap"}], 200, {"a": "1"}),
    ([{"op": "remove", "path": "/data/missing"}], 422, None),
    ([{"op": "add", "path": "/data/x/y/z", "value": 1}], 422, None),
    ([{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/data/a", "value": "1"}], 422, None),
    ([{"op": "add", "path": "", "value": []}], 422, None),
    ([{"op": "replace", "path": "/metadata/name", "value": "other"}], 422, None),
    ([{"op": "replace", "path": "/kind", "value": "Pod"}], 400, None),
    ({"data": None}, 400, None),
]


@pytest.mark.parametrize(("patch", "code", "data"), JSON_PATCHES)
async def test_json_patch_is_applied_whole_or_not_at_all(
    client: RawClient, patch: object, code: int, data: object
) -> None:
    await client.post(CONFIGMAPS, {**configmap("a"), "data": {"a": "1"}})
    answer = await client.do("PATCH", f"{CONFIGMAPS}/a", patch, media_type=JSON_PATCH)
    assert answer.code == code
    stored = (await client.get(f"{CONFIGMAPS}/a")).body["data"]
    assert stored == ({"a": "1"} if data is None else data)


async def test_merge_patch_cannot_change_identity(client: RawClient) -> None:
    made = (await client.post(CONFIGMAPS, configmap("a"))).body
    hostile = {"uid": made["metadata"]["uid"], "creationTimestamp": None, "generation": 5}
    answer = await client.do("PATCH", f"{CONFIGMAPS}/a", {"metadata": hostile}, media_type=MERGE)
    assert answer.body == made


PATCH_FORMS: list[tuple[str, Any, int]] = [
    ("application/strategic-merge-patch+json", [], 400),
    ("application/apply-patch+yaml", [], 422),
    ("application/json", {}, 415),
    (MERGE, [], 400),
    (f"{MERGE}; charset=utf-8", {}, 200),
]


@pytest.mark.parametrize(("media_type", "patch", "code"), PATCH_FORMS)
async def test_patch_of_another_form_is_refused(
    client: RawClient, media_type: str, patch: object, code: int
) -> None:
    await client.post(CONFIGMAPS, configmap("a"))
    answer = await client.do("PATCH", f"{CONFIGMAPS}/a", patch, media_type=media_type)
    assert answer.code == code


async def test_patch_of_what_is_not_there_is_not_found(client: RawClient) -> None:
    assert (await client.do("PATCH", f"{CONFIGMAPS}/a", {}, media_type=MERGE)).code == 404
