"""The settings of each node's enforcer, in the way an admin would give nodes different ones: a ConfigMap with a file a node.

Knows what it adds to the DaemonSet of manifests/. Knows nothing of what a setting does.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

NAMESPACE: Final = "policy-controller"
NAME: Final = "enforcer-settings"
FOLDER: Final = "/var/run/policy-controller/settings"


@dataclass(frozen=True, slots=True)
class EnforcerSettings:
    """What an enforcer is told beyond the manifests: pod interfaces beside the laboratory's, and `unknownPods`."""

    more_pod_interfaces: tuple[str, ...] = ()
    unknown_pods: str = "drop"


USUAL: Final = EnforcerSettings()


def settings_document(
    settings: Mapping[str, EnforcerSettings], interfaces: Mapping[str, tuple[str, ...]]
) -> Json:
    """The ConfigMap; `interfaces` are all pod interfaces of each node."""
    files = {
        f"{node}.yaml": json.dumps({"podInterfaces": list(interfaces[node]), "unknownPods": one.unknown_pods})
        for node, one in settings.items()
    }
    metadata = {"namespace": NAMESPACE, "name": NAME}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}


def with_settings(documents: Iterable[Json]) -> Iterator[Json]:
    """The objects, the DaemonSet's pods with the file of their node."""
    for document in documents:
        yield _told(document) if document["kind"] == "DaemonSet" else document


def _told(daemon_set: Json) -> Json:
    changed = copy.deepcopy(daemon_set)
    pod = changed["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["args"] = ["--config", f"{FOLDER}/$(NODE_NAME).yaml"]
    container["volumeMounts"].append({"name": "settings", "mountPath": FOLDER, "readOnly": True})
    pod["volumes"].append({"name": "settings", "configMap": {"name": NAME}})
    return changed
