"""ObjectMeta: what the server gives a new object, what an update may not change, and what is illegal.

Knows `metadata` of every kind alike. Knows nothing of spec, storage or HTTP.
"""

import datetime
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault, bad_request
from policy_controller.testing.api_server.names import (
    label_faults,
    label_value_faults,
    path_segment_faults,
    qualified_name_faults,
    service_label_faults,
    subdomain_faults,
)
from policy_controller.testing.api_server.resources import Generation, NameRule, Resource
from policy_controller.testing.api_server.surroundings import SUFFIX_LENGTH, Clock, Identities, timestamp

# The server's own: a client may send them, the stored ones stay.
SERVER_OWNED: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "name",
    "namespace",
)
ANNOTATION_BYTES: Final = 256 * 1024
GENERATED_PREFIX: Final = 63 - SUFFIX_LENGTH
_NAME_FAULTS: Final = {
    NameRule.LABEL: label_faults,
    NameRule.PATH_SEGMENT: path_segment_faults,
    NameRule.SERVICE_LABEL: service_label_faults,
    NameRule.SUBDOMAIN: subdomain_faults,
}
_MAPS: Final = ("labels", "annotations")


def check_types(resource: Resource, body: JsonObject) -> None:
    """Refuses metadata or a status of the wrong JSON type, and drops the nulls of metadata.

    Raises:
        ApiError: 400, as for a body that cannot be decoded.
    """
    what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    for part in ("metadata", "status"):
        if not isinstance(body.get(part, {}), dict):
            raise bad_request(f"{what}: json: cannot unmarshal into Go struct field {resource.kind}.{part}")
    metadata = body.get("metadata", {})
    body["metadata"] = {name: value for name, value in metadata.items() if value is not None}
    for field, value in body["metadata"].items():
        if field in _MAPS:
            fits = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        elif field in {"finalizers", "ownerReferences"}:
            fits = isinstance(value, list)
        elif field in {"name", "namespace", "generateName", "uid", "resourceVersion"}:
            fits = isinstance(value, str)
        else:
            fits = True
        if not fits:
            raise bad_request(
                f"{what}: json: cannot unmarshal into Go struct field ObjectMeta.metadata.{field}"
            )


def begin(resource: Resource, body: JsonObject, namespace: str, clock: Clock, identities: Identities) -> None:
    """Gives a new object its identity; a name is made from generateName when there is none."""
    metadata = metadata_of(body)
    for field in (
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "selfLink",
    ):
        metadata.pop(field, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:GENERATED_PREFIX] + identities.suffix()
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"] = identities.uid()
    metadata["creationTimestamp"] = timestamp(clock.now())
    if resource.generation is Generation.COUNTED:
        metadata["generation"] = 1


def carry_over(before: JsonObject, after: JsonObject) -> None:
    """Puts back what only the server decides, whatever the update says of it."""
    old, new = metadata_of(before), metadata_of(after)
    for field in SERVER_OWNED:
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)
    new["resourceVersion"] = old["resourceVersion"]


def count_generation(body: JsonObject) -> None:
    """One more change of what is wanted."""
    metadata = metadata_of(body)
    if "generation" in metadata:
        metadata["generation"] += 1


def mark_deleted(body: JsonObject, now: datetime.datetime, grace: int) -> None:
    """Sets the time by which the object is to be gone."""
    metadata = metadata_of(body)
    metadata["deletionTimestamp"] = timestamp(now + datetime.timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    count_generation(body)


def is_finished(body: JsonObject) -> bool:
    """Whether the object is being deleted and nothing holds it any more: no finalizer, no grace."""
    metadata = metadata_of(body)
    held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not held


def faults_of(resource: Resource, body: JsonObject) -> list[FieldFault]:
    """What is illegal in the metadata."""
    metadata = metadata_of(body)
    name = metadata.get("name")
    if not name:
        return [FieldFault("metadata.name", Fault.REQUIRED, "name or generateName is required")]
    faults = _invalid("metadata.name", name, _NAME_FAULTS[resource.names](name))
    for key, value in metadata.get("labels", {}).items():
        faults += _invalid("metadata.labels", key, qualified_name_faults(key))
        faults += _invalid("metadata.labels", value, label_value_faults(value))
    annotations = metadata.get("annotations", {})
    for key in annotations:
        faults += _invalid("metadata.annotations", key, qualified_name_faults(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATION_BYTES:
        size = f"may not be more than {ANNOTATION_BYTES} bytes"
        faults.append(FieldFault("metadata.annotations", Fault.INVALID, size, None))
    for finalizer in metadata.get("finalizers", []):
        faults += _invalid("metadata.finalizers", finalizer, qualified_name_faults(str(finalizer)))
    return faults


def update_faults(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    """What is illegal only as a change: new finalizers for an object that is being deleted."""
    old, new = metadata_of(before), metadata_of(after)
    added = sorted(set(map(str, new.get("finalizers", []))) - set(map(str, old.get("finalizers", []))))
    if "deletionTimestamp" not in old or not added:
        return []
    detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
    return [FieldFault("metadata.finalizers", Fault.FORBIDDEN, detail)]


def _invalid(path: str, value: object, details: list[str]) -> list[FieldFault]:
    return [FieldFault(path, Fault.INVALID, detail, value) for detail in details]
