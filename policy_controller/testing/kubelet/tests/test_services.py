"""Which pods a Service leads to."""

from typing import Any

import pytest

from policy_controller.testing.kubelet.services import API_SERVER, service_ports

Json = dict[str, Any]
READY = [{"type": "Ready", "status": "True"}]


def service(**spec: object) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    usual = {"clusterIPs": ["10.96.1.1"], "selector": {"app": "web"}, "ports": ports}
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": {**usual, **spec}}


def pod(
    address: str = "10.244.1.9", *, namespace: str = "shop", app: str = "web", ready: bool = True, **more: str
) -> Json:
    return {
        "metadata": {"name": "p", "namespace": namespace, "labels": {"app": app, "x": "y"}, **more},
        "spec": {
            "nodeName": "node-a",
            "containers": [
                {"name": "a", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}
            ],
        },
        "status": {"podIPs": [{"ip": address}], "conditions": READY if ready else []},
    }


HERE = "10.244.1.9:8080"
CASES: dict[str, tuple[Json, Json, list[str]]] = {
    "a ready pod that is selected": (service(), pod(), [HERE]),
    "another namespace": (service(), pod(namespace="other"), []),
    "another label": (service(), pod(app="db"), []),
    "not ready": (service(), pod(ready=False), []),
    "not ready, and wanted all the same": (service(publishNotReadyAddresses=True), pod(ready=False), [HERE]),
    "on its way out": (service(), pod(deletionTimestamp="2026-01-01T00:00:00Z"), []),
    "a port by number": (service(ports=[{"port": 80, "targetPort": 8443}]), pod(), ["10.244.1.9:8443"]),
    "no target port": (service(ports=[{"port": 80}]), pod(), ["10.244.1.9:80"]),
    "a port that no container has": (service(ports=[{"port": 80, "targetPort": "grpc"}]), pod(), []),
    "the name of a port of another protocol": (
        service(ports=[{"port": 80, "targetPort": "http", "protocol": "UDP"}]),
        pod(),
        [],
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_service_leads_to_ready_pods_of_its_namespace(case: str) -> None:
    asked, known, expected = CASES[case]
    api, port = service_ports([asked], [known])
    assert api == API_SERVER
    assert [f"{one.address}:{one.port}" for one in port.endpoints] == expected
    assert {one.node for one in port.endpoints} <= {"node-a"}


@pytest.mark.parametrize(
    "asked", [service(clusterIPs=["None"]), service(selector=None)], ids=["headless", "none selected"]
)
def test_service_that_kube_proxy_leaves_alone_has_no_port(asked: Json) -> None:
    assert service_ports([asked], [pod()]) == (API_SERVER,)
