"""The cluster that a demo shows: built in, or from a folder of the user's own YAML.

Knows files and which parts of an object a demo keeps. Knows nothing of processes or packets.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from compilers.model.cluster import Cluster, Pod, PodNetwork
from compilers.model.faults import Fault
from compilers.model.words import Protocol
from compilers.parse.cluster import ParsedCluster, parse_cluster
from compilers.parse.source import Document
from policy_controller.cli.sources import read_paths
from policy_controller.testing.examples import NODES, place
from policy_controller.testing.installation.trees import Json, PodKey, Service, declared_ports, key_of

LAST_PORT: Final = 65535
PROTOCOLS: Final = tuple(protocol.value for protocol in Protocol)

BUILT_IN: Final = Path(__file__).parent / "scene"
WORKLOADS: Final = "workloads.yaml"
KINDS: Final = ("Namespace", "NetworkPolicy", "Pod")
"""In the order in which they are created: a policy is there before the first packet of a pod."""

KEPT_METADATA: Final = ("namespace", "name", "labels")
KEPT_POD_FIELDS: Final = ("containers", "initContainers", "hostNetwork")
KEPT_CONTAINER_FIELDS: Final = ("name", "image", "restartPolicy")


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects to create, in order, and the cluster they make once every pod has its place.

    `ports` are those that a pod's containers declare, with or without a name; `faults` are shown, and what they close is enforced closed;
    `skipped` counts documents of kinds a demo has no use for.
    """

    objects: tuple[Json, ...]
    cluster: Cluster
    ports: Mapping[PodKey, frozenset[Service]]
    faults: tuple[Fault, ...]
    skipped: Mapping[str, int]


def scene(directory: str | None = None, nodes: Sequence[str] = NODES) -> Scene:
    """The built-in scene, or the user's: with the pods of the folder, or with the built-in ones where it has none.

    Pods keep names, labels and containers; nodes and addresses are the demo's own, whatever a dump says. Of pods and
    namespaces only what can be read is created, and of policies those that have a name. Raises PlacementError when there
    are more pods than a node can have, OSError for files.
    """
    documents, faults = read_paths([directory or str(BUILT_IN)])
    if not any(_kind(document) == "Pod" for document in documents):
        workloads, _ = read_paths([str(BUILT_IN / WORKLOADS)])
        documents = (*workloads, *documents)
    kept = tuple(_unplaced(document) for document in documents if _kind(document) != "Node")
    parsed = parse_cluster(kept)
    skipped = Counter(parsed.skipped) + Counter(Node=len(documents) - len(kept))
    created = tuple(_created(kept, parsed))
    return Scene(
        objects=tuple(sorted(created, key=lambda tree: KINDS.index(tree["kind"]))),
        cluster=place(parsed.cluster, nodes),
        ports={key_of(tree): declared_ports(tree) for tree in created if tree["kind"] == "Pod"},
        faults=(*faults, *parsed.faults),
        skipped=dict(sorted(skipped.items())),
    )


def _kind(document: Document) -> str:
    value = document.value
    return str(value.get("kind")) if isinstance(value, dict) else ""


def _unplaced(document: Document) -> Document:
    """A pod without what a cluster gave it; any other document as it is."""
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "Pod":
        return document
    metadata, spec = value.get("metadata"), value.get("spec")
    return replace(
        document,
        value={
            **value,
            "metadata": _only(KEPT_METADATA, metadata),
            "spec": _only(KEPT_POD_FIELDS, spec),
            "status": {},
        },
    )


def _only(names: Iterable[str], value: object) -> object:
    return {name: value[name] for name in names if name in value} if isinstance(value, dict) else value


def _created(documents: Iterable[Document], parsed: ParsedCluster) -> Iterator[Json]:
    cluster = parsed.cluster
    for namespace in cluster.namespaces.values():
        metadata = {"name": namespace.name, "labels": dict(namespace.labels)}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    pods = {(pod.namespace, pod.name): pod for pod in cluster.pods}
    policies = {(policy.namespace, policy.name): policy for policy in cluster.policies}
    for document in documents:
        # Alone, a document is what it would be among the others, and it is the first of its name that counts.
        alone = parse_cluster((document,)).cluster
        tree = document.value if isinstance(document.value, dict) else {}
        for pod in alone.pods:
            if pods.pop((pod.namespace, pod.name), None) is not None:
                yield _pod(pod, tree)
        for policy in alone.policies:
            if policies.pop((policy.namespace, policy.name), None) is not None:
                metadata = {"namespace": policy.namespace, "name": policy.name}
                yield {**_text_keyed(tree), "metadata": metadata}


def _pod(pod: Pod, tree: Json) -> Json:
    spec = tree.get("spec")
    fields = spec if isinstance(spec, dict) else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": dict(pod.labels)},
        "spec": {
            "containers": _containers(fields.get("containers"), pod),
            "initContainers": _containers(fields.get("initContainers"), pod),
            "hostNetwork": pod.network is PodNetwork.HOST,
        },
    }


def _containers(value: object, pod: Pod) -> list[Json]:
    containers = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return [
        {name: one[name] for name in KEPT_CONTAINER_FIELDS if isinstance(one.get(name), str)}
        | {"ports": list(_ports(one.get("ports"), pod))}
        for one in containers
    ]


def _ports(value: object, pod: Pod) -> Iterator[Json]:
    for port in value if isinstance(value, list) else ():
        if not isinstance(port, dict):
            continue
        number, spoken, name = port.get("containerPort"), port.get("protocol") or "TCP", port.get("name")
        if spoken not in PROTOCOLS or type(number) is not int or not 1 <= number <= LAST_PORT:
            continue
        readable = {(one.name, one.protocol_name, one.number) for one in pod.ports}
        named = {"name": name} if isinstance(name, str) and (name, spoken, number) in readable else {}
        yield {"containerPort": number, "protocol": spoken, **named}


def _with_text_keys(value: object) -> object:
    """The value as JSON can say it: YAML has keys that are no strings, which are faults wherever they stand."""
    if isinstance(value, dict):
        return _text_keyed(value)
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value


def _text_keyed(tree: Mapping[object, object]) -> Json:
    return {str(key): _with_text_keys(inner) for key, inner in tree.items()}
