"""Workloads, roles, bindings and sealed maps: what is filled in, what is refused, what may not change."""

from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.resources import BY_KIND, Scope
from policy_controller.testing.api_server.tests.kubectl.conftest import edited, found
from policy_controller.testing.api_server.tests.raw import MERGE, Answer, RawClient
from policy_controller.testing.api_server.tests.samples import RBAC, sample

APPS = "apps/v1"


def _path(api_version: str, kind: str, name: str = "") -> str:
    row = BY_KIND[api_version, kind]
    root = f"/apis/{api_version}" if row.group else f"/api/{api_version}"
    place = "/namespaces/default" if row.scope is Scope.NAMESPACED else ""
    return f"{root}{place}/{row.plural}" + (f"/{name}" if name else "")


DEFAULTS: list[tuple[str, str, str, Any]] = [
    (APPS, "Deployment", "spec.replicas", 1),
    (APPS, "Deployment", "spec.strategy.rollingUpdate.maxSurge", "25%"),
    (APPS, "Deployment", "spec.template.spec.restartPolicy", "Always"),
    (APPS, "DaemonSet", "spec.updateStrategy.rollingUpdate.maxUnavailable", 1),
    (APPS, "StatefulSet", "spec.podManagementPolicy", "OrderedReady"),
    (APPS, "ReplicaSet", "spec.replicas", 1),
    ("batch/v1", "Job", "spec.backoffLimit", 6),
    ("batch/v1", "CronJob", "spec.concurrencyPolicy", "Allow"),
    ("batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec.dnsPolicy", "ClusterFirst"),
    ("scheduling.k8s.io/v1", "PriorityClass", "preemptionPolicy", "PreemptLowerPriority"),
    ("v1", "Secret", "type", "Opaque"),
    (APPS, "Deployment", "metadata.generation", 1),
]


@pytest.mark.parametrize(("api_version", "kind", "path", "value"), DEFAULTS)
async def test_defaults_are_filled_in(
    client: RawClient, api_version: str, kind: str, path: str, value: object
) -> None:
    made = await client.post(_path(api_version, kind), sample(api_version, kind))
    assert (made.code, found(made.body, path)) == (201, value)


async def test_strategy_of_another_type_gets_no_rolling_update(client: RawClient) -> None:
    document = edited(sample(APPS, "Deployment"), "spec.strategy", {"type": "Recreate"})
    made = await client.post(_path(APPS, "Deployment"), document)
    assert made.body["spec"]["strategy"] == {"type": "Recreate"}


TEMPLATE = "spec.template"
REFUSED: list[tuple[str, str, str, Any, str]] = [
    # kind, what is set in a valid document, the field that is named
    (APPS, "Deployment", "spec.selector", None, "spec.selector"),
    (APPS, "Deployment", "spec.selector", {}, "spec.selector"),
    (APPS, "Deployment", f"{TEMPLATE}.metadata.labels", {"app": "other"}, f"{TEMPLATE}.metadata.labels"),
    (APPS, "DaemonSet", f"{TEMPLATE}.spec.containers", [], f"{TEMPLATE}.spec.containers"),
    (APPS, "DaemonSet", f"{TEMPLATE}.spec.restartPolicy", "Never", f"{TEMPLATE}.spec.restartPolicy"),
    (APPS, "StatefulSet", f"{TEMPLATE}.spec.containers.0.name", "A", f"{TEMPLATE}.spec.containers[0].name"),
    (
        APPS,
        "ReplicaSet",
        f"{TEMPLATE}.spec.containers.0.volumeMounts.0.mountPath",
        None,
        f"{TEMPLATE}.spec.containers[0].volumeMounts[0].mountPath",
    ),
    ("batch/v1", "Job", f"{TEMPLATE}.spec.restartPolicy", None, f"{TEMPLATE}.spec.restartPolicy"),
    ("batch/v1", "CronJob", "spec.schedule", None, "spec.schedule"),
    (f"{RBAC}/v1", "Role", "rules.0.verbs", None, "rules[0].verbs"),
    (f"{RBAC}/v1", "Role", "rules.0.verbs", [], "rules[0].verbs"),
    (f"{RBAC}/v1", "Role", "rules.0.resources", None, "rules[0].resources"),
    (f"{RBAC}/v1", "Role", "rules.0.apiGroups", [], "rules[0].apiGroups"),
    (f"{RBAC}/v1", "Role", "rules.0.nonResourceURLs", ["/x"], "rules[0].nonResourceURLs"),
    (f"{RBAC}/v1", "ClusterRole", "rules.0.nonResourceURLs", ["/x"], "rules[0].nonResourceURLs"),
    (f"{RBAC}/v1", "ClusterRoleBinding", "roleRef.kind", "Role", "roleRef.kind"),
    (f"{RBAC}/v1", "RoleBinding", "roleRef.name", None, "roleRef.name"),
    (f"{RBAC}/v1", "RoleBinding", "subjects.0.namespace", None, "subjects[0].namespace"),
    (f"{RBAC}/v1", "RoleBinding", "subjects.0.kind", "Robot", "subjects[0].kind"),
]


@pytest.mark.parametrize(("api_version", "kind", "path", "value", "field"), REFUSED)
async def test_malformed_object_is_refused_by_field(
    client: RawClient, api_version: str, kind: str, path: str, value: object, field: str
) -> None:
    answer = await client.post(_path(api_version, kind), edited(sample(api_version, kind), path, value))
    assert answer.code == 422
    assert field in answer.faults


FIXED: list[tuple[str, str, Any, str]] = [
    (APPS, "Deployment", {"spec": {"selector": {"matchLabels": {"app": "b"}}}}, "spec.selector"),
    ("batch/v1", "Job", {"spec": {"completions": 2}}, "spec.completions"),
    (f"{RBAC}/v1", "RoleBinding", {"roleRef": {"name": "other"}}, "roleRef"),
    (f"{RBAC}/v1", "ClusterRoleBinding", {"roleRef": {"name": "other"}}, "roleRef"),
    ("v1", "Secret", {"type": "example.com/other"}, "type"),
]


async def _merged(client: RawClient, api_version: str, kind: str, patch: object) -> Answer:
    return await client.do("PATCH", _path(api_version, kind, "web"), patch, media_type=MERGE)


@pytest.mark.parametrize(("api_version", "kind", "patch", "field"), FIXED)
async def test_field_that_is_fixed_cannot_change(
    server: ApiServer, client: RawClient, api_version: str, kind: str, patch: object, field: str
) -> None:
    server.create(sample(api_version, kind))
    answer = await _merged(client, api_version, kind, patch)
    assert answer.code == 422
    assert field in answer.faults
    harmless = await _merged(client, api_version, kind, {"metadata": {"labels": {"a": "b"}}})
    assert harmless.code == 200


SEALED: list[tuple[str, bool, Any, int]] = [
    # kind, whether it is sealed, change, code
    ("ConfigMap", False, {"data": {"colour": "red"}}, 200),
    ("ConfigMap", True, {"data": {"colour": "red"}}, 422),
    ("ConfigMap", True, {"binaryData": {"b": "AA=="}}, 422),
    ("ConfigMap", True, {"immutable": False}, 422),
    ("ConfigMap", True, {"metadata": {"labels": {"a": "b"}}}, 200),
    ("Secret", False, {"data": {"key": "cmVk"}}, 200),
    ("Secret", True, {"data": {"key": "cmVk"}}, 422),
    ("Secret", True, {"stringData": {"key": "red"}}, 422),
    ("Secret", True, {"stringData": {"key": "value"}}, 200),
]


@pytest.mark.parametrize(("kind", "sealed", "patch", "code"), SEALED)
async def test_sealed_map_keeps_its_data(
    server: ApiServer, client: RawClient, kind: str, sealed: bool, patch: object, code: int
) -> None:
    server.create({**sample("v1", kind), "immutable": sealed})
    assert (await _merged(client, "v1", kind, patch)).code == code


async def test_scale_is_read_and_written_for_its_version(server: ApiServer, client: RawClient) -> None:
    server.create(sample(APPS, "Deployment"))
    path = f"{_path(APPS, 'Deployment', 'web')}/scale"
    scale = (await client.get(path)).body
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "app=web"},
    )
    wanted = {**scale, "spec": {"replicas": 4}}
    assert (await client.do("PUT", path, wanted)).body["spec"] == {"replicas": 4}
    assert server.get("Deployment", "web")["metadata"]["generation"] == 2
    assert (await client.do("PUT", path, wanted)).code == 409
    negative = {"spec": {"replicas": -1}}
    assert (await client.do("PATCH", path, negative, media_type=MERGE)).code == 400
