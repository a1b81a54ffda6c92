"""What a pod spec says is played, or refused by name."""

from typing import Any

import pytest

from policy_controller.testing.kubelet.spec import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    SpecError,
    read_pod_spec,
    rights_of,
)

Json = dict[str, Any]
NET_ADMIN = CAPABILITIES.index("NET_ADMIN")


def spec(container: Json | None = None, **pod: object) -> Json:
    return {"containers": [{"name": "app", "image": "app:1", **(container or {})}], **pod}


REFUSED = {
    "initContainers": spec(initContainers=[{"name": "first", "image": "x"}]),
    "hostPID": spec(hostPID=True),
    "envFrom": spec({"envFrom": [{"configMapRef": {"name": "x"}}]}),
    "subPath": spec(
        {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}]}, volumes=[{"name": "v"}]
    ),
    "exec": spec({"livenessProbe": {"exec": {"command": ["true"]}}}),
    "nfs": spec(volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}]),
    "privileged": spec({"securityContext": {"privileged": True}}),
    "there is no volume v": spec({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_played_is_refused_by_name(name: str) -> None:
    with pytest.raises(SpecError, match=name):
        read_pod_spec(REFUSED[name])


RIGHTS: dict[str, tuple[Json, Json, tuple[int, tuple[int, ...], bool, bool]]] = {
    "nothing said": ({}, {}, (7, tuple(sorted(map(CAPABILITIES.index, DEFAULT_CAPABILITIES))), False, False)),
    "the container's word counts before the pod's": (
        {"runAsUser": 1000},
        {"runAsUser": 2000, "capabilities": {"drop": ["ALL"]}},
        (2000, (), False, False),
    ),
    "one capability": (
        {"runAsUser": 0},
        {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": False},
        (0, (NET_ADMIN,), True, False),
    ),
    "read-only": (
        {"runAsNonRoot": True},
        {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        (7, (), False, True),
    ),
}


@pytest.mark.parametrize("case", RIGHTS, ids=str)
def test_rights_are_those_of_container_pod_and_image(case: str) -> None:
    pod, container, expected = RIGHTS[case]
    read = read_pod_spec(spec({"securityContext": container}, securityContext=pod))
    rights = rights_of(read.security_context, read.containers[0].security_context, image_user=7)
    assert (rights.uid, rights.capabilities, rights.no_new_privileges, rights.read_only_root) == expected


@pytest.mark.parametrize("said", [{"runAsUser": 0}, {}], ids=["said", "of the image"])
def test_root_is_refused_where_nobody_may_be_root(said: Json) -> None:
    read = read_pod_spec(spec(securityContext={"runAsNonRoot": True, **said}))
    with pytest.raises(SpecError, match="run as root"):
        rights_of(read.security_context, read.containers[0].security_context, image_user=0)


def test_capability_that_does_not_exist_is_refused() -> None:
    read = read_pod_spec(spec({"securityContext": {"capabilities": {"add": ["CAP_NET_ADMIN"]}}}))
    with pytest.raises(SpecError, match="CAP_NET_ADMIN"):
        rights_of(read.security_context, read.containers[0].security_context, image_user=0)
