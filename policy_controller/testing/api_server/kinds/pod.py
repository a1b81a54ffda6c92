"""Pod: first state, the defaults and checks that matter to network policy, and graceful deletion.

Containers and their ports are checked, because named ports are read from them; images, volumes and resources are not.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from policy_controller.testing.api_server.documents import JsonObject, without_nulls
from policy_controller.testing.api_server.errors import Fault, FieldFault, bad_request
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


class ContainerPort(msgspec.Struct):
    """ContainerPort, as far as it is checked."""

    name: str = ""
    containerPort: int = 0  # noqa: N815 - the API's spelling
    # API reference: 'Protocol for port. Must be UDP, TCP, or SCTP. Defaults to "TCP".'
    protocol: str = "TCP"


class Container(msgspec.Struct):
    """Container, as far as it is checked."""

    name: str = ""
    ports: list[ContainerPort] = []
    restartPolicy: str = ""  # noqa: N815 - the API's spelling


class Spec(msgspec.Struct):
    """PodSpec, as far as it is checked."""

    containers: list[Container] = []
    initContainers: list[Container] = []  # noqa: N815 - the API's spelling
    nodeName: str = ""  # noqa: N815 - the API's spelling
    hostNetwork: bool = False  # noqa: N815 - the API's spelling
    terminationGracePeriodSeconds: int = DEFAULT_GRACE_SECONDS  # noqa: N815 - the API's spelling


def _typed(body: JsonObject) -> Spec:
    try:
        return msgspec.convert(without_nulls(body.get("spec", {})), Spec)
    except msgspec.ValidationError as fault:
        raise bad_request(f'Pod in version "v1" cannot be handled as a Pod: spec: {fault}') from fault


def _begin(body: JsonObject) -> None:
    body["status"] = {"phase": "Pending"}


def _shape(body: JsonObject) -> None:
    _typed(body)
    body["spec"] = pod_spec_with_defaults(without_nulls(body.get("spec", {})))


def pod_spec_with_defaults(given: JsonObject) -> JsonObject:
    """A pod's spec, or a template's, with what the server fills in."""
    spec: JsonObject = {**_SPEC_DEFAULTS, **given}
    for container in (*spec.get("initContainers", []), *spec.get("containers", [])):
        for port in container.get("ports", []):
            port.setdefault("protocol", "TCP")
    return spec


def pod_spec_faults(body: JsonObject, path: str = "spec") -> list[FieldFault]:
    """What is wrong with a pod, or with the template that has this path.

    Raises:
        ApiError: 400 for a field of the wrong type.
    """
    spec = _typed(body)
    faults = [] if spec.containers else [FieldFault(f"{path}.containers", Fault.REQUIRED, "")]
    for index, container in enumerate(spec.initContainers):
        faults += _container_faults(f"{path}.initContainers[{index}]", container)
    for index, container in enumerate(spec.containers):
        faults += _container_faults(f"{path}.containers[{index}]", container)
    return faults


def _container_faults(path: str, container: Container) -> list[FieldFault]:
    if container.name:
        faults = _invalid(f"{path}.name", container.name, label_faults(container.name))
    else:
        faults = [FieldFault(f"{path}.name", Fault.REQUIRED, "")]
    names: set[str] = set()
    for index, port in enumerate(container.ports):
        at = f"{path}.ports[{index}]"
        faults += _port_faults(at, port)
        if port.name in names:
            faults.append(FieldFault(f"{at}.name", Fault.DUPLICATE, "", port.name))
        if port.name:
            names.add(port.name)
    return faults


def _port_faults(path: str, port: ContainerPort) -> list[FieldFault]:
    if port.containerPort:
        faults = _invalid(f"{path}.containerPort", port.containerPort, port_number_faults(port.containerPort))
    else:
        faults = [FieldFault(f"{path}.containerPort", Fault.REQUIRED, "")]
    if port.name:
        faults += _invalid(f"{path}.name", port.name, port_name_faults(port.name))
    if port.protocol not in PROTOCOLS:
        supported = "supported values: " + ", ".join(f'"{word}"' for word in PROTOCOLS)
        faults.append(FieldFault(f"{path}.protocol", Fault.NOT_SUPPORTED, supported, port.protocol))
    return faults


def _invalid(path: str, value: object, details: Iterable[str]) -> list[FieldFault]:
    return [FieldFault(path, Fault.INVALID, detail, value) for detail in details]


def _grace(body: JsonObject) -> int:
    spec = body.get("spec")
    seconds = spec.get("terminationGracePeriodSeconds") if isinstance(spec, dict) else None
    return seconds if isinstance(seconds, int) else DEFAULT_GRACE_SECONDS


def stops_at_once(body: JsonObject) -> bool:
    """Whether nothing of the pod runs, so that there is nothing to wait for: not scheduled, or ended."""
    spec, status = body.get("spec"), body.get("status")
    scheduled = isinstance(spec, dict) and bool(spec.get("nodeName"))
    ended = isinstance(status, dict) and status.get("phase") in ("Succeeded", "Failed")
    return not scheduled or ended


POD: Final = Rules(begin=_begin, shape=_shape, validate=pod_spec_faults, grace=_grace)
