"""The objects of manifests/ as kubectl would apply them, read without kubectl: a demo needs none.

Knows as much of kustomize as that folder uses; a test compares the outcome with kubectl's own.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from policy_controller.testing.kubelet.images import CHECKOUT

Json = dict[str, Any]

FOLDER: Final = CHECKOUT / "manifests"
OF_CLUSTER: Final = frozenset({"ClusterRole", "ClusterRoleBinding", "Namespace"})
WORKLOADS: Final = frozenset({"DaemonSet", "Deployment"})


def manifests(folder: Path = FOLDER) -> tuple[Json, ...]:
    """Every object, in the order of the files. Raises OSError, and KeyError for a kustomization of another form."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    images = {one["name"]: f"{one.get('newName', one['name'])}:{one['newTag']}" for one in said["images"]}
    (labels,) = said["labels"]
    found = []
    for document in _documents(folder, said["resources"]):
        metadata = document["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), **labels["pairs"]}
        if document["kind"] not in OF_CLUSTER:
            metadata["namespace"] = said["namespace"]
        if document["kind"] in WORKLOADS:
            for container in document["spec"]["template"]["spec"]["containers"]:
                container["image"] = images[container["image"]]
        found.append(document)
    return tuple(found)


def _documents(folder: Path, names: Iterable[str]) -> Iterator[Json]:
    for name in names:
        yield from yaml.safe_load_all((folder / name).read_text("utf-8"))
