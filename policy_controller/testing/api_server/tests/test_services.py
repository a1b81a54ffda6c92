"""Services: addresses, node ports, defaults, and what an update leaves as it was."""

from typing import Any

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import MERGE, RawClient
from policy_controller.testing.api_server.tests.samples import sample

SERVICES = "/api/v1/namespaces/default/services"
PORT: dict[str, Any] = {"port": 80}

# spec, part of what it becomes
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (
        {"ports": [PORT]},
        {
            "type": "ClusterIP",
            "clusterIP": "10.96.1.1",
            "clusterIPs": ["10.96.1.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        },
    ),
    "both families": (
        {"ports": [PORT], "ipFamilyPolicy": "PreferDualStack"},
        {"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.96.1.1", "fd00:10:96::101"]},
    ),
    "IPv6": ({"ports": [PORT], "ipFamilies": ["IPv6"]}, {"clusterIP": "fd00:10:96::101"}),
    "headless": (
        {"clusterIP": "None", "selector": {"a": "b"}},
        {"clusterIP": "None", "clusterIPs": ["None"]},
    ),
    "asked for": ({"ports": [PORT], "clusterIP": "10.96.0.10"}, {"clusterIP": "10.96.0.10"}),
    "node port": (
        {"type": "NodePort", "ports": [PORT]},
        {
            "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30086}],
        },
    ),
    "elsewhere": ({"type": "ExternalName", "externalName": "a.example"}, {"sessionAffinity": "None"}),
}


@pytest.mark.parametrize(("spec", "becomes"), SHAPES.values(), ids=list(SHAPES))
async def test_service_gets_addresses_and_defaults(
    client: RawClient, spec: dict[str, Any], becomes: dict[str, Any]
) -> None:
    made = await client.post(SERVICES, {"metadata": {"name": "web"}, "spec": spec})
    assert made.code == 201
    assert {name: made.body["spec"].get(name) for name in becomes} == becomes
    assert ("clusterIP" in made.body["spec"]) is (spec.get("type") != "ExternalName")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "spec.ports"),
    ({"ports": [{}]}, "spec.ports[0].port"),
    ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
    ({"ports": [PORT, {"port": 81}]}, "spec.ports[0].name"),
    ({"ports": [{**PORT, "name": "a"}, {**PORT, "name": "b"}]}, "spec.ports[1]"),
    ({"ports": [PORT], "type": "Other"}, "spec.type"),
    ({"ports": [PORT], "clusterIP": "10.96.1.1"}, "spec.clusterIPs"),
    ({"ports": [{**PORT, "nodePort": 30086}], "type": "NodePort"}, "spec.ports[0].nodePort"),
    ({"ports": [{**PORT, "nodePort": 80}], "type": "NodePort"}, "spec.ports[0].nodePort"),
]


@pytest.mark.parametrize(("spec", "field"), REFUSED)
async def test_malformed_or_taken_is_refused_by_field(
    server: ApiServer, client: RawClient, spec: dict[str, Any], field: str
) -> None:
    server.create({**sample("v1", "Service"), "spec": {"type": "NodePort", "ports": [PORT]}})
    answer = await client.post(SERVICES, {"metadata": {"name": "other"}, "spec": spec})
    assert answer.code == 422
    assert field in answer.faults


async def test_address_of_a_deleted_service_is_free_again(server: ApiServer) -> None:
    addresses = [server.create(sample("v1", "Service", name))["spec"]["clusterIP"] for name in "ab"]
    server.delete("Service", "a")
    after = server.create(sample("v1", "Service", "c"))["spec"]["clusterIP"]
    assert [*addresses, after] == ["10.96.1.1", "10.96.1.2", "10.96.1.1"]


async def test_update_that_does_not_know_the_address_keeps_it(server: ApiServer, client: RawClient) -> None:
    node_port = {"type": "NodePort", "ports": [PORT]}
    made = server.create({**sample("v1", "Service"), "spec": node_port})
    answer = await client.do("PUT", f"{SERVICES}/web", {"metadata": {"name": "web"}, "spec": node_port})
    assert (answer.code, answer.body["spec"]) == (200, made["spec"])
    other = {"spec": {"clusterIP": "10.96.9.9"}}
    refused = await client.do("PATCH", f"{SERVICES}/web", other, media_type=MERGE)
    assert (refused.code, list(refused.faults)) == (422, ["spec.clusterIP"])
