"""The scale subresource: how many replicas, as a document of its own kind.

Knows where replicas stand in the kinds that have them. Knows nothing of storage.
"""

from typing import Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import bad_request

KIND: Final = {"kind": "Scale", "apiVersion": "autoscaling/v1"}
_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(body: JsonObject) -> JsonObject:
    """The Scale of an object."""
    spec, status, metadata = body.get("spec", {}), body.get("status", {}), metadata_of(body)
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        **KIND,
        "metadata": {name: metadata[name] for name in _IDENTITY if name in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        },
    }


def scaled(body: JsonObject, scale: JsonObject) -> JsonObject:
    """The object with the replicas of a Scale, for the version that the Scale names.

    Raises:
        ApiError: 400.
    """
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request("spec.replicas: must be greater than or equal to 0")
    body["spec"] = {**body.get("spec", {}), "replicas": replicas}
    version = metadata_of(scale).get("resourceVersion")
    if version:
        metadata_of(body)["resourceVersion"] = version
    return body
