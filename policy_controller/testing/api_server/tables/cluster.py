"""The columns of nodes, namespaces, services and the other small kinds."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.tables.columns import (
    AGE,
    CREATED,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Column,
    Width,
    at,
    counted,
    joined,
    pairs,
    plain,
    selector,
    shown,
    since,
    wide,
)

_ROLE_LABEL: Final = "node-role.kubernetes.io/"
_OLD_ROLE_LABEL: Final = "kubernetes.io/role"
MANY: Final = 3  # endpoints and ports told one by one


def _node_status(body: JsonObject) -> object:
    conditions = {one.get("type"): one.get("status") for one in at(body, "status.conditions", [])}
    words = [{"True": "Ready"}.get(conditions["Ready"], "NotReady")] if "Ready" in conditions else ["Unknown"]
    if at(body, "spec.unschedulable", False):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(body: JsonObject) -> object:
    labels = metadata_of(body).get("labels", {})
    roles = {name.removeprefix(_ROLE_LABEL) for name in labels if name.startswith(_ROLE_LABEL)}
    roles |= {value for name, value in labels.items() if name == _OLD_ROLE_LABEL and value}
    return joined(sorted(roles - {""}))


def _node_address(kind: str) -> Callable[[JsonObject], object]:
    def cell(body: JsonObject) -> object:
        addresses = at(body, "status.addresses", [])
        return next((one.get("address", NONE) for one in addresses if one.get("type") == kind), NONE)

    return cell


def _service_external(body: JsonObject) -> object:
    given = list(at(body, "spec.externalIPs", []))
    match at(body, "spec.type"):
        case "ExternalName":
            return at(body, "spec.externalName", NONE)
        case "LoadBalancer":
            ingress = at(body, "status.loadBalancer.ingress", [])
            return joined([one.get("ip") or one.get("hostname", "") for one in ingress] + given, "<pending>")
        case _:
            return joined(given)


def _service_port(port: JsonObject) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _told(texts: list[str], absent: str) -> str:
    more = f" + {len(texts) - MANY} more..." if len(texts) > MANY else ""
    return joined(texts[:MANY], absent) + more


def _endpoints(body: JsonObject) -> object:
    found = [
        f"{address.get('ip')}:{port.get('port')}" if port else str(address.get("ip"))
        for subset in at(body, "subsets", [])
        for port in subset.get("ports") or [{}]
        for address in subset.get("addresses", [])
    ]
    return _told(found, NONE)


def _slice_ports(body: JsonObject) -> object:
    return _told([str(port.get("port", "*")) for port in at(body, "ports", [])], UNSET)


def _slice_endpoints(body: JsonObject) -> object:
    return _told(
        [address for one in at(body, "endpoints", []) for address in one.get("addresses", [])], UNSET
    )


def _event_time(body: JsonObject, *fields: str) -> object:
    return next((time for time in (at(body, field) for field in fields) if time), None)


def _last_seen(body: JsonObject, now: datetime.datetime) -> object:
    return since(
        _event_time(body, "series.lastObservedTime", "lastTimestamp", "firstTimestamp", "eventTime"), now
    )


def _first_seen(body: JsonObject, now: datetime.datetime) -> object:
    return since(_event_time(body, "firstTimestamp", "eventTime"), now)


def _event_object(body: JsonObject) -> object:
    involved: Any = at(body, "involvedObject", {})
    kind, name = str(involved.get("kind", "")).lower(), involved.get("name", "")
    return f"{kind}/{name}" if name else kind


def _event_source(body: JsonObject) -> object:
    parts = (at(body, "source.component") or at(body, "reportingComponent"), at(body, "source.host"))
    return ", ".join(part for part in parts if part)


def _quota(belongs: Callable[[str], bool]) -> Callable[[JsonObject], object]:
    def cell(body: JsonObject) -> object:
        hard, used = at(body, "status.hard", {}), at(body, "status.used", {})
        return ", ".join(
            f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard) if belongs(name)
        )

    return cell


CLUSTER_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "configmaps": (
        NAME,
        counted("Data", lambda body: len(at(body, "data", {})) + len(at(body, "binaryData", {}))),
        AGE,
    ),
    "endpoints": (NAME, shown("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        shown("AddressType", plain("addressType")),
        shown("Ports", _slice_ports),
        shown("Endpoints", _slice_endpoints),
        AGE,
    ),
    "events": (
        Column("Last Seen", _last_seen),
        shown("Type", plain("type")),
        shown("Reason", plain("reason")),
        shown("Object", _event_object),
        wide("Subobject", plain("involvedObject.fieldPath")),
        wide("Source", _event_source),
        shown("Message", lambda body: str(at(body, "message")).strip()),
        Column("First Seen", _first_seen, Width.WIDE),
        wide("Count", lambda body: at(body, "series.count", 0) or at(body, "count", 1)),
        wide("Name", plain("metadata.name")),
    ),
    "leases.coordination.k8s.io": (NAME, shown("Holder", plain("spec.holderIdentity")), AGE),
    "limitranges": (NAME, CREATED),
    "namespaces": (NAME, shown("Status", plain("status.phase")), AGE),
    "networkpolicies.networking.k8s.io": (
        NAME,
        shown("Pod-Selector", lambda body: selector(at(body, "spec.podSelector", {}))),
        AGE,
    ),
    "nodes": (
        NAME,
        shown("Status", _node_status),
        shown("Roles", _node_roles),
        AGE,
        shown("Version", plain("status.nodeInfo.kubeletVersion")),
        wide("Internal-IP", _node_address("InternalIP")),
        wide("External-IP", _node_address("ExternalIP")),
        wide("OS-Image", plain("status.nodeInfo.osImage", UNKNOWN)),
        wide("Kernel-Version", plain("status.nodeInfo.kernelVersion", UNKNOWN)),
        wide("Container-Runtime", plain("status.nodeInfo.containerRuntimeVersion", UNKNOWN)),
    ),
    "resourcequotas": (
        NAME,
        shown("Request", _quota(lambda name: not name.startswith("limits."))),
        shown("Limit", _quota(lambda name: name.startswith("limits."))),
        AGE,
    ),
    "secrets": (
        NAME,
        shown("Type", plain("type")),
        counted("Data", lambda body: len(at(body, "data", {}))),
        AGE,
    ),
    "serviceaccounts": (NAME, counted("Secrets", lambda body: len(at(body, "secrets", []))), AGE),
    "services": (
        NAME,
        shown("Type", plain("spec.type")),
        shown("Cluster-IP", plain("spec.clusterIP", NONE)),
        shown("External-IP", _service_external),
        shown("Port(s)", lambda body: joined([_service_port(port) for port in at(body, "spec.ports", [])])),
        AGE,
        wide("Selector", lambda body: pairs(at(body, "spec.selector", {}))),
    ),
}
