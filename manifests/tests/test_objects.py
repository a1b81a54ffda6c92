"""What the objects say, held against the code that they install and against each other."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from manifests.tests.reading import FOLDER, NAMESPACE, Json, built, chosen, container_of, pod_of
from policy_controller.controller import settings as operator_settings
from policy_controller.enforcer import settings as enforcer_settings
from policy_controller.settings.table import Row, Table
from policy_controller.testing.kubelet.spec import read_pod_spec
from policy_controller.wire.channel import AUDIENCE, HostPort

WORKLOADS = ("Deployment", "DaemonSet")


TABLES: Final[Mapping[str, Table[Any]]] = {
    "Deployment": operator_settings.TABLE,
    "DaemonSet": enforcer_settings.TABLE,
}


def row_of(table: Table[Any], name: str) -> Row:
    (found,) = (row for row in table.rows() if row.name == name)
    return found


def default(table: Table[Any], name: str) -> str:
    """The text of a setting's default."""
    text = row_of(table, name).default_in({"POD_NAMESPACE": NAMESPACE})
    assert text is not None
    return text


def port(container: Json, name: str) -> int:
    (found,) = (one["containerPort"] for one in container["ports"] if one["name"] == name)
    return int(found)


def ports(tree: object) -> Iterator[Json]:
    """Every entry of every list called `ports`, wherever it stands."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == "ports" and isinstance(value, list):
                yield from value
            yield from ports(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from ports(value)


def test_every_object_is_in_the_namespace_or_of_the_cluster(documents: tuple[Json, ...]) -> None:
    of_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    for document in documents:
        expected = None if document["kind"] in of_cluster else NAMESPACE
        assert document["metadata"].get("namespace") == expected, document["kind"]
    assert chosen(documents, "Namespace")["metadata"]["name"] == NAMESPACE


def test_every_port_says_its_protocol(documents: tuple[Json, ...]) -> None:
    found = list(ports(list(documents)))
    assert len(found) == 4
    assert {one["protocol"] for one in found} == {"TCP"}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_workload_selects_the_pods_it_makes_and_runs_as_an_account_that_is_there(
    documents: tuple[Json, ...], kind: str
) -> None:
    workload = chosen(documents, kind)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    accounts = {one["metadata"]["name"] for one in documents if one["kind"] == "ServiceAccount"}
    assert pod_of(workload)["serviceAccountName"] in accounts


def test_service_leads_to_the_operators_port_and_to_no_enforcer(documents: tuple[Json, ...]) -> None:
    service, operator = chosen(documents, "Service"), chosen(documents, "Deployment")
    selector = service["spec"]["selector"].items()
    assert selector <= operator["spec"]["template"]["metadata"]["labels"].items()
    enforcer = chosen(documents, "DaemonSet")
    assert not selector <= enforcer["spec"]["template"]["metadata"]["labels"].items()
    (only,) = service["spec"]["ports"]
    listen = HostPort.parse(default(operator_settings.TABLE, "listen"))
    assert only["port"] == port(container_of(operator), only["targetPort"]) == listen.port


def test_names_are_those_that_the_programs_expect(documents: tuple[Json, ...]) -> None:
    operator, enforcer = chosen(documents, "Deployment"), chosen(documents, "DaemonSet")
    assert pod_of(operator)["serviceAccountName"] == default(operator_settings.TABLE, "account")
    assert pod_of(enforcer)["serviceAccountName"] == default(operator_settings.TABLE, "enforcer_account")
    service = chosen(documents, "Service")["metadata"]["name"]
    assert default(enforcer_settings.TABLE, "server_name") == f"{service}.{NAMESPACE}.svc"
    variable = f"{service.upper().replace('-', '_')}_SERVICE_HOST"
    ip, number = "10.96.0.9", "9473"
    environment = {variable: ip, variable.replace("HOST", "PORT"): number}
    assert row_of(enforcer_settings.TABLE, "operator").default_in(environment) == f"{ip}:{number}"


@pytest.mark.parametrize(
    ("kind", "table", "setting", "scope"),
    [
        ("Deployment", operator_settings.TABLE, "health", ""),
        ("DaemonSet", enforcer_settings.TABLE, "listen", "127.0.0.1"),
    ],
    ids=WORKLOADS,
)
def test_probes_ask_where_health_is_told(
    documents: tuple[Json, ...], kind: str, table: Table[Any], setting: str, scope: str
) -> None:
    container = container_of(chosen(documents, kind))
    listen = HostPort.parse(default(table, setting))
    for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert asked.get("host", "") == scope
        assert (asked["path"], port(container, asked["port"])) == (path, listen.port)


def test_volumes_are_where_the_enforcer_looks_for_its_token_and_its_authorities(
    documents: tuple[Json, ...],
) -> None:
    enforcer = chosen(documents, "DaemonSet")
    places = {mount["name"]: Path(mount["mountPath"]) for mount in container_of(enforcer)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_of(enforcer)["volumes"]}
    (source,) = (one["serviceAccountToken"] for one in volumes["token"]["projected"]["sources"])
    assert source["audience"] == AUDIENCE
    assert str(places["token"] / source["path"]) == default(enforcer_settings.TABLE, "token")
    (item,) = volumes["ca"]["configMap"]["items"]
    assert str(places["ca"] / item["path"]) == default(enforcer_settings.TABLE, "ca")
    assert volumes["ca"]["configMap"]["optional"] is True
    assert volumes["ca"]["configMap"]["name"] == f"{NAMESPACE}-ca"


def test_the_saved_rule_set_outlives_the_pod_and_nothing_else_of_the_node_is_mounted(
    documents: tuple[Json, ...],
) -> None:
    enforcer = chosen(documents, "DaemonSet")
    (state,) = (volume for volume in pod_of(enforcer)["volumes"] if "hostPath" in volume)
    assert state["hostPath"]["type"] == "DirectoryOrCreate"
    mounts = [mount for mount in container_of(enforcer)["volumeMounts"] if not mount.get("readOnly")]
    assert [(mount["name"], mount["mountPath"]) for mount in mounts] == [
        (state["name"], default(enforcer_settings.TABLE, "state_directory"))
    ]


# "Pod Security Standards", the level "restricted" and all that is below it, as far as these pods have such fields.
def beyond_restricted(pod: Json) -> set[str]:
    """What of a pod the level "restricted" refuses."""
    (container,) = pod["containers"]
    both, own = pod["securityContext"], container["securityContext"]
    capabilities = own["capabilities"]
    refused = {
        "host namespaces": any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        "privileged": own.get("privileged", False),
        "privilege escalation": own["allowPrivilegeEscalation"] is not False,
        "capabilities": "ALL" not in capabilities["drop"]
        or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "root": both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0,
        "seccomp": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
        "volumes": any(
            not {"configMap", "emptyDir", "projected", "secret"} & volume.keys()
            for volume in pod.get("volumes", [])
        ),
    }
    return {name for name, holds in refused.items() if holds}


@pytest.mark.parametrize(
    ("kind", "beyond"),
    [("Deployment", set()), ("DaemonSet", {"host namespaces", "capabilities", "root", "volumes"})],
    ids=WORKLOADS,
)
def test_pod_is_restricted_but_for_what_its_work_needs(
    documents: tuple[Json, ...], kind: str, beyond: set[str]
) -> None:
    workload = chosen(documents, kind)
    assert beyond_restricted(pod_of(workload)) == beyond
    security = container_of(workload)["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"].get("add", []) == (["NET_ADMIN"] if beyond else [])


def test_only_the_operator_has_a_token_for_the_api_server(documents: tuple[Json, ...]) -> None:
    for account in (one for one in documents if one["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert pod_of(chosen(documents, "Deployment"))["automountServiceAccountToken"] is True
    assert pod_of(chosen(documents, "DaemonSet"))["automountServiceAccountToken"] is False


def test_enforcer_goes_to_every_node_of_linux_and_never_twice(documents: tuple[Json, ...]) -> None:
    enforcer = chosen(documents, "DaemonSet")
    assert pod_of(enforcer)["tolerations"] == [{"operator": "Exists"}]
    assert pod_of(enforcer)["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert enforcer["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] == 0


def test_update_of_the_operator_begins_with_the_new_one(documents: tuple[Json, ...]) -> None:
    rolling = chosen(documents, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxSurge"], rolling["maxUnavailable"]) == (1, 0)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_pod_says_nothing_that_the_laboratory_would_leave_out(documents: tuple[Json, ...], kind: str) -> None:
    read_pod_spec(pod_of(chosen(documents, kind)))


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_variable_of_a_program_is_one_of_its_settings(documents: tuple[Json, ...], kind: str) -> None:
    table = TABLES[kind]
    known = {name for row in table.rows() for name in table.variables(row)}
    # Not a setting of the enforcer, but part of a default of one.
    assert {one["name"] for one in container_of(chosen(documents, kind))["env"]} <= known | {"POD_NAMESPACE"}


def test_overlay_of_the_readme_changes_images_and_a_setting(kubectl: Path, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / FOLDER.name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    (written,) = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kustomization.yaml").write_text(written)
    said = yaml.safe_load(written)
    documents = built(kubectl, tmp_path / "own")
    images = {container_of(chosen(documents, kind))["image"].rpartition(":")[0] for kind in WORKLOADS}
    assert images == {one["newName"] for one in said["images"]}
    added = container_of(chosen(documents, "DaemonSet"))["env"][-1]
    assert added in yaml.safe_load(said["patches"][0]["patch"])[0].values()
