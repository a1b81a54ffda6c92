"""Deployments and DaemonSets: which pods there should be, and which step leads there.

Pure: what is stored goes in, the next steps come out. Nothing is remembered, so a step that was not taken is proposed again.
Sources: "Deployments: rolling update", "Perform a Rolling Update on a DaemonSet".
"""

import copy
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from policy_controller.testing.kubelet.spec import SpecError

Json = dict[str, Any]

REVISION: Final = {"DaemonSet": "controller-revision-hash", "Deployment": "pod-template-hash"}
"""The label that says from which template a pod was made."""
ROLLING: Final = "RollingUpdate"


@dataclass(frozen=True, slots=True)
class Creation:
    """A pod to be created; the API server completes its name."""

    pod: Json


@dataclass(frozen=True, slots=True)
class Deletion:
    """A pod to be deleted."""

    namespace: str
    name: str


Step = Creation | Deletion


def steps(workload: Json, nodes: Sequence[Json], pods: Iterable[Json]) -> list[Step]:
    """What to do next for one workload. `pods` are all pods there are. Raises SpecError for what is not played."""
    own = sorted((pod for pod in pods if is_of(pod, workload)), key=lambda pod: str(pod["metadata"]["name"]))
    fitting = [name_of(node) for node in nodes if _fits(workload, node)]
    if workload["metadata"].get("deletionTimestamp"):
        return []
    if workload["kind"] == "DaemonSet":
        return list(_daemon_set(workload, sorted(fitting), own))
    return list(_deployment(workload, sorted(fitting), own))


def status_of(workload: Json, nodes: Sequence[Json], pods: Iterable[Json]) -> Json:
    """What its controller says of a workload."""
    own = [pod for pod in pods if is_of(pod, workload)]
    new = [pod for pod in own if _revision_of(pod) == revision(workload)]
    ready = sum(is_ready(pod) for pod in own)
    counts = {"observedGeneration": workload["metadata"].get("generation", 1)}
    if workload["kind"] == "DaemonSet":
        wanted = sum(_fits(workload, node) for node in nodes)
        return counts | {
            "currentNumberScheduled": len(own),
            "desiredNumberScheduled": wanted,
            "numberAvailable": ready,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberUnavailable": max(wanted - ready, 0),
            "updatedNumberScheduled": len(new),
        }
    return counts | {
        "availableReplicas": ready,
        "readyReplicas": ready,
        "replicas": len(own),
        "unavailableReplicas": max(workload["spec"]["replicas"] - ready, 0),
        "updatedReplicas": len(new),
    }


def is_of(pod: Json, workload: Json) -> bool:
    """Whether the workload made the pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == workload["metadata"]["uid"] for owner in owners)


def is_ready(pod: Json) -> bool:
    """Whether its kubelet says so."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_ending(pod: Json) -> bool:
    """Whether it was told to end."""
    return "deletionTimestamp" in pod["metadata"]


def revision(workload: Json) -> str:
    """A hash of the pod template."""
    encoded = msgspec.json.encode(workload["spec"]["template"], order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:10]


def name_of(thing: Json) -> str:
    """Its name."""
    return str(thing["metadata"]["name"])


def _daemon_set(workload: Json, nodes: Sequence[str], own: Sequence[Json]) -> Iterator[Step]:
    strategy = workload["spec"].get("updateStrategy", {})
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type", ROLLING) != ROLLING or _amount(rolling.get("maxSurge", 0), len(nodes)):
        raise SpecError("DaemonSet: updateStrategy other than RollingUpdate without maxSurge is not played")
    current = {pod["spec"].get("nodeName", ""): pod for pod in own}
    for node, pod in current.items():
        if node not in nodes and not is_ending(pod):
            yield _deletion(pod)
    for node in nodes:
        if node not in current:
            yield Creation(_pod(workload, node))
    allowed = max(1, _amount(rolling.get("maxUnavailable", 1), len(nodes)))
    unavailable = sum(node not in current or not is_ready(current[node]) for node in nodes)
    for pod in _old(workload, own):
        # A pod that is not ready is nobody's loss.
        if not is_ready(pod):
            yield _deletion(pod)
        elif unavailable < allowed:
            unavailable += 1
            yield _deletion(pod)


def _deployment(workload: Json, nodes: Sequence[str], own: Sequence[Json]) -> Iterator[Step]:
    wanted = workload["spec"]["replicas"]
    strategy = workload["spec"].get("strategy", {})
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type", ROLLING) != ROLLING:
        raise SpecError("Deployment: a strategy other than RollingUpdate is not played")
    surge = _amount(rolling.get("maxSurge", "25%"), wanted)
    spared = _amount(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    living = [pod for pod in own if not is_ending(pod)]
    new = [pod for pod in living if _revision_of(pod) == revision(workload)]
    room = min(wanted - len(new), wanted + surge - len(living))
    loads = {node: sum(pod["spec"].get("nodeName") == node for pod in living) for node in nodes}
    for _ in range(room if nodes else 0):
        node = min(nodes, key=lambda name: (loads[name], name))
        loads[node] += 1
        yield Creation(_pod(workload, node))
    for pod in new[wanted:]:
        yield _deletion(pod)
    ready = sum(is_ready(pod) for pod in living)
    for pod in _old(workload, living):
        if not is_ready(pod):
            yield _deletion(pod)
        elif ready - 1 >= wanted - spared:
            ready -= 1
            yield _deletion(pod)


def _old(workload: Json, own: Iterable[Json]) -> Iterator[Json]:
    for pod in own:
        if _revision_of(pod) != revision(workload) and not is_ending(pod):
            yield pod


def _deletion(pod: Json) -> Deletion:
    return Deletion(pod["metadata"]["namespace"], name_of(pod))


def _pod(workload: Json, node: str) -> Json:
    metadata, template = workload["metadata"], copy.deepcopy(workload["spec"]["template"])
    mark = {REVISION[workload["kind"]]: revision(workload)}
    infix = f"{revision(workload)}-" if workload["kind"] == "Deployment" else ""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-{infix}",
            "namespace": metadata["namespace"],
            "labels": {**(template.get("metadata", {}).get("labels") or {}), **mark},
            "annotations": template.get("metadata", {}).get("annotations") or {},
            "ownerReferences": [
                {
                    "apiVersion": workload["apiVersion"],
                    "kind": workload["kind"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def _revision_of(pod: Json) -> str:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return next((labels[name] for name in REVISION.values() if name in labels), "")


def _fits(workload: Json, node: Json) -> bool:
    selector = workload["spec"]["template"]["spec"].get("nodeSelector") or {}
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())


def _amount(said: int | str, of: int, rounded: Any = math.ceil) -> int:  # noqa: ANN401 - a rounding of the math module
    """A number, or a percentage of `of`."""
    if isinstance(said, str):
        return int(rounded(int(said.removesuffix("%")) * of / 100))
    return said
