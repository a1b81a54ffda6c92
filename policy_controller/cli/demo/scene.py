"""The cluster that a demo shows: built in, or from a folder of the user's own YAML.

Knows files and which parts of an object a demo keeps. Knows nothing of processes or packets.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from compilers.model.cluster import Cluster
from compilers.model.faults import Fault
from compilers.model.words import Protocol
from compilers.parse.cluster import parse_cluster
from compilers.parse.source import Document
from policy_controller.cli.sources import read_paths
from policy_controller.testing.examples import NODES, place

Json = dict[str, Any]
PodKey = tuple[str, str]
"""Namespace and name."""

Service = tuple[Protocol, int]

BUILT_IN: Final = Path(__file__).parent / "scene"
WORKLOADS: Final = "workloads.yaml"
KINDS: Final = ("Namespace", "NetworkPolicy", "Pod")
"""In the order in which they are created: a policy is there before the first packet of a pod."""

KEPT_METADATA: Final = ("namespace", "name", "labels", "annotations")
KEPT_POD_FIELDS: Final = ("containers", "initContainers", "hostNetwork")


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects to create, in order, and the cluster they make once every pod has its place.

    `ports` are those that a pod's containers declare, with or without a name; `faults` are shown, and what they close is enforced closed; `skipped` counts documents of kinds a demo has no use for.
    """

    objects: tuple[Json, ...]
    cluster: Cluster
    ports: Mapping[PodKey, frozenset[Service]]
    faults: tuple[Fault, ...]
    skipped: Mapping[str, int]


def scene(directory: str | None = None) -> Scene:
    """The built-in scene, or the user's: with the pods of the folder, or with the built-in ones where it has none.

    Pods keep names, labels and containers; nodes and addresses are the demo's own, whatever a dump says. Raises
    PlacementError when there are more pods than a node can have.
    """
    documents, faults = read_paths([directory or str(BUILT_IN)])
    if not any(_kind(document) == "Pod" for document in documents):
        workloads, _ = read_paths([str(BUILT_IN / WORKLOADS)])
        documents = (*workloads, *documents)
    kept = tuple(_kept(documents))
    parsed = parse_cluster(kept)
    skipped = Counter(_kind(document) for document in documents if _kind(document) not in KINDS)
    assumed = tuple(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in parsed.assumed_namespaces
    )
    return Scene(
        objects=(*assumed, *(_object(document) for document in sorted(kept, key=_order))),
        cluster=place(parsed.cluster, NODES),
        ports={
            key_of(tree): declared_ports(tree) for tree in map(_object, kept) if tree.get("kind") == "Pod"
        },
        faults=(*faults, *parsed.faults),
        skipped=dict(sorted(skipped.items())),
    )


def key_of(tree: Json) -> PodKey:
    """Namespace and name of a pod's document."""
    metadata = tree.get("metadata") or {}
    return metadata.get("namespace") or "default", str(metadata.get("name"))


def declared_ports(tree: Json) -> frozenset[Service]:
    """The ports that a pod's containers declare."""
    containers = (tree.get("spec") or {}).get("containers") or []
    ports = [port for container in containers for port in container.get("ports") or []]
    return frozenset((Protocol(port.get("protocol", "TCP")), int(port["containerPort"])) for port in ports)


def _kind(document: Document) -> str:
    value = document.value
    return str(value.get("kind")) if isinstance(value, dict) else ""


def _order(document: Document) -> int:
    return KINDS.index(_kind(document))


def _object(document: Document) -> Json:
    value = document.value
    return value if isinstance(value, dict) else {}


def _kept(documents: Iterable[Document]) -> Iterator[Document]:
    for document in documents:
        kind = _kind(document)
        if kind == "Pod":
            yield replace(document, value=_pod(_object(document)))
        elif kind in KINDS:
            yield document


def _pod(value: Json) -> Json:
    metadata, spec = value.get("metadata"), value.get("spec")
    return {
        **value,
        "metadata": {key: metadata[key] for key in KEPT_METADATA if key in metadata}
        if isinstance(metadata, dict)
        else metadata,
        "spec": {key: spec[key] for key in KEPT_POD_FIELDS if key in spec}
        if isinstance(spec, dict)
        else spec,
        "status": {},
    }
