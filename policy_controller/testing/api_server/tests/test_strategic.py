"""Strategic merge patch: lists with keys, directives, order."""

from typing import Any

import msgspec
import pytest

from policy_controller.testing.api_server import ApiError
from policy_controller.testing.api_server.patches.order import interleaved, woven
from policy_controller.testing.api_server.patches.strategic import strategic_edit
from policy_controller.testing.api_server.schemas.shapes import Named
from policy_controller.testing.api_server.tests.raw import RawClient, pod

STRATEGIC = "application/strategic-merge-patch+json"
SPEC = "core.v1.PodSpec"
A, B = {"name": "a", "image": "x"}, {"name": "b", "image": "y"}

# type, document, patch, result
CASES: dict[str, tuple[str, Any, Any, Any]] = {
    "items with the same key are merged": (
        SPEC,
        {"containers": [A, B]},
        {"containers": [{"name": "b", "image": "z"}]},
        {"containers": [A, {"name": "b", "image": "z"}]},
    ),
    "new items are appended": (SPEC, {"containers": [A]}, {"containers": [B]}, {"containers": [A, B]}),
    "null removes a field of an item": (
        SPEC,
        {"containers": [A]},
        {"containers": [{"name": "a", "image": None}]},
        {"containers": [{"name": "a"}]},
    ),
    "delete takes an item out": (
        SPEC,
        {"containers": [A, B]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [B]},
    ),
    "delete of what is not there changes nothing": (
        SPEC,
        {"containers": [B]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [B]},
    ),
    "replace puts the list in place of the other": (
        SPEC,
        {"containers": [A]},
        {"containers": [B, {"$patch": "replace"}]},
        {"containers": [B]},
    ),
    "replace of an object": (
        SPEC,
        {"securityContext": {"runAsUser": 1}},
        {"securityContext": {"$patch": "replace", "fsGroup": 2}},
        {"securityContext": {"fsGroup": 2}},
    ),
    "delete of an object's content": (
        SPEC,
        {"nodeSelector": {"a": "b"}},
        {"nodeSelector": {"$patch": "delete"}},
        {"nodeSelector": {}},
    ),
    "order of items": (
        SPEC,
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
        {"containers": [B, A]},
    ),
    "order with items of others": (
        SPEC,
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}], "containers": [{"name": "c"}]},
        {"containers": [A, B, {"name": "c"}]},
    ),
    "lists without a key are replaced": (
        SPEC,
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}]},
        {"tolerations": [{"key": "b"}]},
    ),
    "ports are told apart by their number": (
        "core.v1.Container",
        {"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81}]},
        {"ports": [{"containerPort": 80, "name": "b"}]},
        {"ports": [{"containerPort": 80, "name": "b"}, {"containerPort": 81}]},
    ),
    "mounts are told apart by their path": (
        "core.v1.Container",
        {"volumeMounts": [{"mountPath": "/a", "name": "x"}]},
        {"volumeMounts": [{"mountPath": "/b", "name": "x"}]},
        {"volumeMounts": [{"mountPath": "/a", "name": "x"}, {"mountPath": "/b", "name": "x"}]},
    ),
    "retained keys drop the source a volume had": (
        SPEC,
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]},
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
    ),
    "a strategy of another type": (
        "apps.v1.DeploymentSpec",
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        {"strategy": {"type": "Recreate"}},
    ),
    "values of a set are added": (
        "meta.v1.ObjectMeta",
        {"finalizers": ["a/b"]},
        {"finalizers": ["c/d", "a/b"]},
        {"finalizers": ["a/b", "c/d"]},
    ),
    "values of a set are taken out": (
        "meta.v1.ObjectMeta",
        {"finalizers": ["a/b", "c/d"]},
        {"$deleteFromPrimitiveList/finalizers": ["a/b"]},
        {"finalizers": ["c/d"]},
    ),
    "conditions are told apart by their type": (
        "core.v1.PodStatus",
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]},
        {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]},
    ),
    "peers of a policy are replaced": (
        "networking.v1.NetworkPolicySpec",
        {"ingress": [{"from": [{"podSelector": {}}]}]},
        {"ingress": [{"ports": [{"port": 1}]}]},
        {"ingress": [{"ports": [{"port": 1}]}]},
    ),
    "directives are left out where nothing is to be merged": (
        SPEC,
        {},
        {
            "volumes": [
                {"name": "v", "$retainKeys": ["name"], "emptyDir": None},
                {"name": "w", "$patch": "delete"},
            ]
        },
        {"volumes": [{"name": "v"}]},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_patch_is_merged_by_the_keys_of_its_type(case: tuple[str, Any, Any, Any]) -> None:
    kind, document, patch, result = case
    assert strategic_edit(msgspec.json.encode(patch), Named(kind))(document) == result


BROKEN: list[Any] = [
    {"containers": [{"image": "x"}]},
    {"containers": ["x"]},
    {"securityContext": {"$patch": "explode"}},
    {"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]},
    {"$deleteFromPrimitiveList/containers": "x"},
    [],
]


@pytest.mark.parametrize("patch", BROKEN)
def test_patch_that_makes_no_sense_is_refused(patch: object) -> None:
    document = {"containers": [A], "volumes": [{"name": "v"}], "securityContext": {}}
    with pytest.raises(ApiError) as caught:
        strategic_edit(msgspec.json.encode(patch), Named(SPEC))(document)
    assert caught.value.code == 400


ORDERS = [
    # wanted, present, result
    ("ba", "ab", "ba"),
    ("bd", "abc", "abdc"),
    ("c", "abc", "abc"),
    ("", "abc", "abc"),
    ("xy", "", "xy"),
    ("ca", "abc", "bca"),
]


@pytest.mark.parametrize(("wanted", "present", "result"), ORDERS)
def test_wanted_order_is_kept_and_others_stay_before_their_neighbours(
    wanted: str, present: str, result: str
) -> None:
    assert interleaved(wanted, present) == list(result)


WOVEN = [
    ("ba", "ab", "ba"),
    ("bd", "abc", "abcd"),
    ("d", "abc", "abcd"),
    ("da", "abc", "dabc"),
    ("xy", "", "xy"),
]


@pytest.mark.parametrize(("wanted", "present", "result"), WOVEN)
def test_others_stay_as_early_as_they_stood(wanted: str, present: str, result: str) -> None:
    assert "".join(map(str, woven(wanted, present))) == result


async def test_strategic_patch_over_http_keeps_the_other_container(client: RawClient) -> None:
    path = "/api/v1/namespaces/default/pods"
    await client.post(path, {**pod("web"), "spec": {"containers": [A, B]}})
    patch = {"spec": {"containers": [{"name": "b", "image": "z"}]}}
    answer = await client.do("PATCH", f"{path}/web", patch, media_type=STRATEGIC)
    assert [one["image"] for one in answer.body["spec"]["containers"]] == ["x", "z"]
