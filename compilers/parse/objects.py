"""Pods, namespaces and nodes from their trees.

Knows the few fields that decide about traffic, and ignores the hundreds that do not. Knows no other object than the one
it reads. What cannot be read is a fault and left out; the rest of the object stands.
"""

import re
from types import MappingProxyType
from typing import Final

from compilers.model.cluster import (
    DEFAULT_ACCOUNT,
    OS_LABEL,
    Ending,
    Namespace,
    Node,
    OperatingSystem,
    Phase,
    Pod,
    PodNetwork,
    Workload,
)
from compilers.model.names import DNS_SUBDOMAIN
from compilers.model.port import NamedPort, check_port_name, check_port_number
from compilers.model.selector import quoted
from compilers.model.settings import EXISTING_CONNECTIONS, ExistingConnections
from compilers.model.words import Address
from compilers.parse.addresses import read_address
from compilers.parse.field import Field, Origin, Parsed
from compilers.parse.identity import NAMESPACE, NODE, POD, Identity, identify, read_name
from compilers.parse.places import Positions
from compilers.parse.rules import read_protocol
from compilers.parse.selectors import read_labels

_NOWHERE: Final[Positions] = MappingProxyType({})
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z")
_HASH_LABEL: Final = "pod-template-hash"
MOST_ADDRESSES: Final = 256
"""Of one pod; an API server accepts one of each family."""
_LONGEST_OWNER: Final = 253
_NODE_ADDRESSES: Final = frozenset({"InternalIP", "ExternalIP"})
_PHASES: Final = {phase.value: phase for phase in Phase}
# A pod that an API server has just taken in has no phase yet; files are written without a status and mean a pod at work.
_PHASE_WHEN_MISSING: Final = {Origin.API: Phase.PENDING, Origin.FILE: Phase.RUNNING}


def parse_pod(tree: object, origin: Origin, positions: Positions = _NOWHERE) -> Parsed[Pod]:
    """The pod, with every fault of the fields that decide about its traffic. Never raises."""
    findings, identity = identify(tree, POD, origin, positions)
    pod = None if identity is None else _read_pod(identity, origin)
    return Parsed(pod, tuple(findings.faults), tuple(findings.warnings))


def parse_namespace(tree: object, origin: Origin, positions: Positions = _NOWHERE) -> Parsed[Namespace]:
    """The namespace with its labels and its choice. A choice that cannot be read is a fault, and none. Never raises."""
    findings, identity = identify(tree, NAMESPACE, origin, positions)
    namespace = None
    if identity is not None:
        metadata = identity.top.at("metadata")
        labels = read_labels(metadata.at("labels"))
        namespace = Namespace(identity.name, labels, identity.uid, _read_existing_connections(metadata))
    return Parsed(namespace, tuple(findings.faults), tuple(findings.warnings))


def parse_node(tree: object, origin: Origin, positions: Positions = _NOWHERE) -> Parsed[Node]:
    """The node with its internal and external addresses, and what it runs. Never raises."""
    findings, identity = identify(tree, NODE, origin, positions)
    node = None
    if identity is not None:
        status = identity.top.at("status")
        status.fields()
        addresses = [_read_node_address(item) for item in status.at("addresses").items()]
        system = _read_system(identity.top.at("metadata").at("labels"))
        node = Node(identity.name, _in_order(addresses), system)
    return Parsed(node, tuple(findings.faults), tuple(findings.warnings))


def _read_pod(identity: Identity, origin: Origin) -> Pod:
    metadata, spec, status = (identity.top.at(name) for name in ("metadata", "spec", "status"))
    spec.fields()
    status.fields()
    labels = read_labels(metadata.at("labels"))
    # Kubernetes gives every pod of a hostNetwork workload its node's network; anything but `true` is a network of its own.
    network = PodNetwork.HOST if spec.at("hostNetwork").boolean() else PodNetwork.POD
    ending = Ending.NO if metadata.at("deletionTimestamp").absent else Ending.TERMINATING
    return Pod(
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        labels=labels,
        node=_read_node_name(spec.at("nodeName")),
        addresses=_read_addresses(status),
        ports=_read_ports(spec),
        phase=_read_phase(status.at("phase"), origin),
        network=network,
        ending=ending,
        created=_read_time(metadata.at("creationTimestamp")),
        workload=_read_workload(metadata.at("ownerReferences"), labels),
        account=_read_account(spec),
    )


def _read_existing_connections(metadata: Field) -> ExistingConnections | None:
    annotations = metadata.at("annotations")
    chosen = annotations.at(EXISTING_CONNECTIONS)
    text = chosen.text()
    words = {word.value: word for word in ExistingConnections}
    if text is not None and text not in words:
        # Whoever meant to cut must not believe that it is done, and nobody guesses what was meant.
        chosen.fault(
            f"{quoted(text)} must be {' or '.join(words)}: until then what is set for the cluster holds"
        )
    return words.get(text or "")


def _read_system(labels: Field) -> OperatingSystem:
    labels.fields()
    text = labels.at(OS_LABEL).text()
    if text is None:
        # Kubelets label their nodes so since Kubernetes 1.14. Taken for another system, a node would be waited for by nobody.
        return OperatingSystem.LINUX
    # Kubernetes, "Well-Known Labels, Annotations and Taints": "the kubelet populates this with runtime.GOOS as defined by Go".
    return OperatingSystem.LINUX if text == OperatingSystem.LINUX.value else OperatingSystem.OTHER


def _read_node_name(field: Field) -> str | None:
    # API, nodeName: "If empty, this pod is a candidate for scheduling".
    return None if field.value in (None, "") else read_name(field, DNS_SUBDOMAIN)


def _read_account(spec: Field) -> str:
    named = spec.at("serviceAccountName")
    if named.value in (None, ""):
        # API, serviceAccount: "DeprecatedServiceAccount is a deprecated alias for ServiceAccountName."
        named = spec.at("serviceAccount")
    if named.value in (None, ""):
        return DEFAULT_ACCOUNT
    return read_name(named, DNS_SUBDOMAIN) or ""


def _read_addresses(status: Field) -> tuple[Address, ...]:
    listed = status.at("podIPs").items()
    if len(listed) > MOST_ADDRESSES:
        status.at("podIPs").fault(f"has {len(listed)} entries; the first {MOST_ADDRESSES} count")
    listed = listed[:MOST_ADDRESSES]
    for item in listed:
        item.fields()
    # API, podIP: "IP address allocated to the pod"; podIPs: "If this field is specified, the 0th entry must match the
    # podIP field." Older servers and hand-written files have only podIP.
    fields = [item.at("ip") for item in listed] if listed else [status.at("podIP")]
    return _in_order([_read_pod_address(field) for field in fields])


def _read_pod_address(field: Field) -> Address | None:
    text = field.text()
    return read_address(field, text) if text else None


def _read_node_address(field: Field) -> Address | None:
    field.fields()
    kind, address = field.at("type").text(), field.at("address")
    text = address.text()
    if kind not in _NODE_ADDRESSES or not text:
        return None
    return read_address(address, text)


def _in_order(addresses: list[Address | None]) -> tuple[Address, ...]:
    found = {address for address in addresses if address is not None}
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def _read_ports(spec: Field) -> tuple[NamedPort, ...]:
    # Kubernetes, "Sidecar Containers": an init container with restartPolicy Always runs beside the pod's containers;
    # ordinary init containers have ended before those begin, so their ports lead nowhere.
    sidecars = [
        item for item in spec.at("initContainers").items() if item.at("restartPolicy").value == "Always"
    ]
    ports = {
        port
        for container in [*spec.at("containers").items(), *sidecars]
        for item in _items_of(container, "ports")
        if (port := _read_named_port(item)) is not None
    }
    return tuple(sorted(ports))


def _items_of(field: Field, name: str) -> list[Field]:
    field.fields()
    return field.at(name).items()


def _read_named_port(field: Field) -> NamedPort | None:
    before = field.findings.count
    field.fields()
    name, number = field.at("name"), field.at("containerPort")
    word, port, protocol = name.text(), number.integer(), read_protocol(field.at("protocol"))
    if not word:
        # A port without a name opens and names nothing: policies cannot speak of it.
        return None
    if number.absent:
        number.fault("is required")
    name.passes(check_port_name, word)
    if port is not None:
        number.passes(check_port_number, port)
    if port is None or protocol is None or field.findings.count > before:
        return None
    return NamedPort(word, protocol.value, port)


def _read_phase(field: Field, origin: Origin) -> Phase:
    text = field.text()
    if not text:
        return _PHASE_WHEN_MISSING[origin] if field.absent or text == "" else Phase.UNKNOWN
    if text not in _PHASES:
        # Not known to have ended, so its policies still hold.
        field.fault(f"{quoted(text)} is no phase: must be one of {', '.join(_PHASES)}")
    return _PHASES.get(text, Phase.UNKNOWN)


def _read_time(field: Field) -> str:
    text = field.text()
    if not text:
        return ""
    if not _TIME.fullmatch(text):
        field.fault(f"{quoted(text)} is not a time such as 2006-01-02T15:04:05Z")
        return ""
    return text


def _read_workload(owners: Field, labels: dict[str, str]) -> Workload | None:
    # API, ownerReferences: "There cannot be more than one managing controller."
    controllers = [item for item in owners.items() if item.at("controller").value is True]
    if not controllers:
        return None
    kind, name = (_read_word(controllers[0].at(part)) for part in ("kind", "name"))
    if not kind or not name:
        return None
    suffix = f"-{labels[_HASH_LABEL]}" if labels.get(_HASH_LABEL) else None
    if kind == "ReplicaSet" and suffix is not None and name.endswith(suffix):
        # A Deployment names its ReplicaSets after itself and the hash, and labels their pods with the hash.
        return Workload("Deployment", name.removesuffix(suffix))
    return Workload(kind, name)


def _read_word(field: Field) -> str | None:
    text = field.text()
    if text is not None and (len(text) > _LONGEST_OWNER or not text.isascii() or not text.isprintable()):
        field.fault(f"{quoted(text)} is not the kind or name of an object")
        return None
    return text
