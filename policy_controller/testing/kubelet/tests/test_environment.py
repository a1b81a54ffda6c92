"""Variables of Services and of manifests, and $(NAME) in words."""

from typing import Any

import pytest

from policy_controller.testing.kubelet.environment import (
    container_variables,
    expanded,
    field_of,
    service_variables,
)
from policy_controller.testing.kubelet.spec import FieldRef, KeyRef, SpecError, ValueFrom, Variable

Json = dict[str, Any]

# "Define Dependent Environment Variables", and the API's words of EnvVar.value.
EXPANSIONS = {
    "$(A)": "1",
    "x$(A)$(B)y": "x12y",
    "$(UNKNOWN)": "$(UNKNOWN)",
    "$$(A)": "$(A)",
    "$$$(A)": "$1",
    "$A ${A}": "$A ${A}",
    "$(A": "$(A",
}


@pytest.mark.parametrize("text", EXPANSIONS)
def test_references_are_expanded_and_nothing_else(text: str) -> None:
    assert expanded(text, {"A": "1", "B": "2"}) == EXPANSIONS[text]


def test_service_gives_its_variables_and_links() -> None:
    service = {
        "metadata": {"name": "redis-primary"},
        "spec": {
            "clusterIP": "10.0.0.11",
            "ports": [{"port": 6379}, {"name": "admin-ui", "port": 80, "protocol": "UDP"}],
        },
    }
    headless = {"metadata": {"name": "none"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    # "Service: environment variables" has the first seven as its example.
    assert service_variables([service, headless]) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT_ADMIN_UI": "80",
        "REDIS_PRIMARY_PORT_80_UDP": "udp://10.0.0.11:80",
        "REDIS_PRIMARY_PORT_80_UDP_PROTO": "udp",
        "REDIS_PRIMARY_PORT_80_UDP_PORT": "80",
        "REDIS_PRIMARY_PORT_80_UDP_ADDR": "10.0.0.11",
    }


def test_address_of_ipv6_stands_bare_in_host_and_in_brackets_in_links() -> None:
    service = {"metadata": {"name": "a"}, "spec": {"clusterIP": "fd00::1", "ports": [{"port": 1}]}}
    found = service_variables([service])
    assert (found["A_SERVICE_HOST"], found["A_PORT"]) == ("fd00::1", "tcp://[fd00::1]:1")


POD: Json = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}},
    "spec": {"nodeName": "node-a", "serviceAccountName": "web"},
    "status": {
        "hostIP": "172.31.0.11",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
    },
}
FIELDS = {
    "metadata.name": "web-1",
    "metadata.namespace": "shop",
    "metadata.uid": "u",
    "metadata.labels['app']": "web",
    "metadata.annotations['none']": "",
    "spec.nodeName": "node-a",
    "spec.serviceAccountName": "web",
    "status.hostIP": "172.31.0.11",
    "status.podIP": "10.0.0.1",
    "status.podIPs": "10.0.0.1,fd00::1",
}


@pytest.mark.parametrize("path", FIELDS)
def test_field_of_the_pod_is_read(path: str) -> None:
    assert field_of(POD, path) == FIELDS[path]


def test_unknown_field_is_refused() -> None:
    with pytest.raises(SpecError, match=r"spec\.containers"):
        field_of(POD, "spec.containers")


def test_variables_follow_each_other_and_may_refer_back() -> None:
    said = [
        Variable(name="HOST", value="$(WEB_SERVICE_HOST)"),
        Variable(name="NODE", value_from=ValueFrom(field_ref=FieldRef(field_path="spec.nodeName"))),
        Variable(name="BOTH", value="$(HOST)/$(NODE)/$(LATER)"),
        Variable(name="LATER", value="x"),
        Variable(name="KEY", value_from=ValueFrom(secret_key_ref=KeyRef(name="s", key="k"))),
        Variable(
            name="GONE", value_from=ValueFrom(config_map_key_ref=KeyRef(name="c", key="k", optional=True))
        ),
    ]

    def key(kind: str, wanted: KeyRef) -> str | None:
        return "secret" if (kind, wanted.name, wanted.key) == ("Secret", "s", "k") else None

    found = container_variables(said, {"WEB_SERVICE_HOST": "10.0.0.9"}, lambda path: field_of(POD, path), key)
    assert found == {
        "WEB_SERVICE_HOST": "10.0.0.9",
        "HOST": "10.0.0.9",
        "NODE": "node-a",
        "BOTH": "10.0.0.9/node-a/$(LATER)",
        "LATER": "x",
        "KEY": "secret",
    }
