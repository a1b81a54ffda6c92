"""Pod: first state, the defaults and checks that matter to network policy, and graceful deletion.

Containers and their ports are checked, because named ports are read from them; images, volumes and resources are not.
"""

from collections.abc import Callable
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import ApiError, Fault, FieldFault, bad_request
from policy_controller.testing.api_server.kinds.rules import Rules
from policy_controller.testing.api_server.names import label_faults, port_name_faults, port_number_faults

DEFAULT_GRACE_SECONDS: Final = 30
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")

_SPEC_DEFAULTS: Final[JsonObject] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": DEFAULT_GRACE_SECONDS,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}


def _wrong_type(what: str) -> ApiError:
    return bad_request(f'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal {what}')


def _begin(body: JsonObject) -> None:
    body["status"] = {"phase": "Pending"}


def _containers(spec: JsonObject, field: str) -> list[JsonObject]:
    containers = spec.get(field) or []
    if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
        raise _wrong_type(f"into Go struct field PodSpec.spec.{field}")
    return containers


def _ports(container: JsonObject) -> list[JsonObject]:
    ports = container.get("ports") or []
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        raise _wrong_type("into Go struct field Container.ports")
    return ports


def _shape(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    if not isinstance(spec, dict):
        raise _wrong_type("into Go struct field Pod.spec of type v1.PodSpec")
    for name, value in _SPEC_DEFAULTS.items():
        spec.setdefault(name, value)
    for field in ("initContainers", "containers"):
        for container in _containers(spec, field):
            for port in _ports(container):
                # API reference, ContainerPort.protocol: "Defaults to "TCP"."
                port.setdefault("protocol", "TCP")


def _port_faults(path: str, port: JsonObject) -> list[FieldFault]:
    faults = []
    number = port.get("containerPort")
    if not number:
        faults.append(FieldFault(f"{path}.containerPort", Fault.REQUIRED, ""))
    elif not isinstance(number, int) or isinstance(number, bool):
        raise _wrong_type("into Go struct field ContainerPort.containerPort of type int32")
    else:
        faults += _invalid(f"{path}.containerPort", number, port_number_faults)
    name = port.get("name")
    if isinstance(name, str) and name:
        faults += _invalid(f"{path}.name", name, port_name_faults)
    if port["protocol"] not in PROTOCOLS:
        supported = "supported values: " + ", ".join(f'"{word}"' for word in PROTOCOLS)
        faults.append(FieldFault(f"{path}.protocol", Fault.NOT_SUPPORTED, supported, port["protocol"]))
    return faults


def _invalid(path: str, value: Any, check: Callable[[Any], list[str]]) -> list[FieldFault]:  # noqa: ANN401 - value and check share a type
    return [FieldFault(path, Fault.INVALID, fault, value) for fault in check(value)]


def _container_faults(path: str, container: JsonObject) -> list[FieldFault]:
    name = container.get("name")
    if not isinstance(name, str) or not name:
        faults = [FieldFault(f"{path}.name", Fault.REQUIRED, "")]
    else:
        faults = _invalid(f"{path}.name", name, label_faults)
    names: set[str] = set()
    for index, port in enumerate(_ports(container)):
        at = f"{path}.ports[{index}]"
        faults += _port_faults(at, port)
        if port.get("name") in names:
            faults.append(FieldFault(f"{at}.name", Fault.DUPLICATE, "", port["name"]))
        if port.get("name"):
            names.add(port["name"])
    return faults


def _validate(body: JsonObject) -> list[FieldFault]:
    spec = body["spec"]
    faults = []
    if not spec.get("containers"):
        faults.append(FieldFault("spec.containers", Fault.REQUIRED, ""))
    for field in ("initContainers", "containers"):
        for index, container in enumerate(_containers(spec, field)):
            faults += _container_faults(f"spec.{field}[{index}]", container)
    return faults


def _grace(body: JsonObject) -> int:
    spec = body.get("spec")
    seconds = spec.get("terminationGracePeriodSeconds") if isinstance(spec, dict) else None
    return seconds if isinstance(seconds, int) else DEFAULT_GRACE_SECONDS


def stops_at_once(body: JsonObject) -> bool:
    """Whether nothing of the pod runs, so that there is nothing to wait for: not scheduled, or ended."""
    spec, status = body.get("spec"), body.get("status")
    scheduled = isinstance(spec, dict) and bool(spec.get("nodeName"))
    ended = isinstance(status, dict) and status.get("phase") in {"Succeeded", "Failed"}
    return not scheduled or ended


POD: Final = Rules(begin=_begin, shape=_shape, validate=_validate, grace=_grace)
