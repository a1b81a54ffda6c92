"""Namespace, Secret, ConfigMap, Event and PriorityClass: kinds with a rule or two."""

import base64
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.kinds.rules import Rules, immutable

NAME_LABEL: Final = "kubernetes.io/metadata.name"


def _begin_namespace(body: JsonObject) -> None:
    body["spec"] = {"finalizers": ["kubernetes"]}
    body["status"] = {"phase": "Active"}


def _label_namespace(body: JsonObject) -> None:
    # Well-known labels: "The Kubernetes API server (part of the control plane) sets this label on all namespaces.
    # The label value is set to the name of the namespace. You can't change this label's value."
    metadata = metadata_of(body)
    labels = metadata.get("labels")
    metadata["labels"] = {**(labels if isinstance(labels, dict) else {}), NAME_LABEL: metadata["name"]}


NAMESPACE: Final = Rules(begin=_begin_namespace, always=_label_namespace)


def _frozen(before: JsonObject, after: JsonObject, *fields: str) -> list[FieldFault]:
    # API: "Immutable, if set to true, ensures that data stored in the ConfigMap cannot be updated".
    if before.get("immutable") is not True:
        return []
    detail = "field is immutable when `immutable` is set"
    return [
        FieldFault(name, Fault.FORBIDDEN, detail)
        for name in ("immutable", *fields)
        if before.get(name) != after.get(name)
    ]


def _secret_follows(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    after.setdefault("type", before.get("type", "Opaque"))
    plain = {**after}
    _shape_secret(plain)
    return immutable(before, plain, "type") + _frozen(before, plain, "data")


def _shape_secret(body: JsonObject) -> None:
    body.setdefault("type", "Opaque")
    plain = body.pop("stringData", None)
    data = body.get("data") or {}
    if isinstance(plain, dict) and isinstance(data, dict):
        encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in plain.items()}
        body["data"] = {**data, **encoded}


SECRET: Final = Rules(shape=_shape_secret, follow=_secret_follows)


def _configmap_follows(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    return _frozen(before, after, "data", "binaryData")


CONFIG_MAP: Final = Rules(follow=_configmap_follows)


def _event_faults(body: JsonObject) -> list[FieldFault]:
    own = metadata_of(body).get("namespace", "")
    involved = body.get("involvedObject")
    about = involved.get("namespace", "") if isinstance(involved, dict) else ""
    # Events about cluster-scoped objects live in "default"; kube-system is tolerated for the control plane's own.
    if own == about or (not about and own in {"default", "kube-system"}):
        return []
    return [FieldFault("involvedObject.namespace", Fault.INVALID, "does not match event.namespace", about)]


EVENT: Final = Rules(validate=_event_faults)


def _shape_priority(body: JsonObject) -> None:
    # API: "Defaults to PreemptLowerPriority if unset."
    body.setdefault("preemptionPolicy", "PreemptLowerPriority")


PRIORITY_CLASS: Final = Rules(shape=_shape_priority)
