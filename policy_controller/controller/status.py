"""The document of /status: which nodes enforce what is desired, and how far each policy has come.

Knows its schema, `status/v1` (docs/schemas/status-v1.json). Strings from the cluster are values in it, never syntax. It is
computed from one moment, which any thread may do, and bounded: of much it shows what needs looking at, and says how much
there is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from compilers.model.cluster import Cluster
from compilers.model.faults import ObjectRef
from policy_controller.controller.complaints import Complaint
from policy_controller.controller.enforced import Picture, Stage, Standing
from policy_controller.controller.store import Written

SCHEMA: Final = "status/v1"
MOST_NODES: Final = 1_000
MOST_POLICIES: Final = 500
MOST_FAULTS: Final = 10
"""Of one policy. Whoever writes policies must not make the document as long as they like."""
MOST_BEHIND: Final = 10
"""Nodes that are named, of one policy."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which policies are asked about: those of these namespaces, and of these names; without either every one."""

    namespaces: frozenset[str] = frozenset()
    policies: frozenset[tuple[str, str]] = frozenset()
    """Namespace and name."""

    def asks(self, policy: ObjectRef) -> bool:
        """Whether a policy is one of them."""
        if self.policies and (policy.namespace, policy.name) not in self.policies:
            return False
        return not self.namespaces or policy.namespace in self.namespaces


EVERYTHING: Final = Question()


@dataclass(frozen=True, slots=True)
class Condition:
    """How the operator itself is, and when. `kubernetes`: the cluster's version, "" until it is known."""

    at: datetime
    synced: bool
    kubernetes: str
    not_ready: Sequence[str]
    """Why nodes are not served what the cluster says."""
    warnings: Sequence[str]


def status_document(
    cluster: Cluster,
    picture: Picture,
    told: Sequence[Complaint],
    condition: Condition,
    question: Question = EVERYTHING,
) -> dict[str, Any]:
    """Nodes that exist or are connected, and the policies asked about, by name; of many those that are not well.

    Who asks about policies by name, asks again and again: nodes are then counted and not listed. Nodes that can have no
    enforcer are counted apart, where there are any.
    """
    names = {*cluster.nodes, *picture.nodes} - picture.others
    nodes = [_node(name, picture) for name in names]
    nodes.sort(key=lambda node: (node["connected"] and node["current"], node["name"]))
    listed = [] if question.policies else nodes[:MOST_NODES]
    shown = sorted(listed, key=lambda node: str(node["name"]))
    complaints = {complaint.policy.ref: complaint for complaint in told}
    asked = sorted(ref for ref in picture.written if question.asks(ref))
    standings = {ref: picture.standing(ref) for ref in asked}
    ordered = sorted(asked, key=lambda ref: (ref not in complaints, ORDER[standings[ref].stage], ref))
    states = Counter(standing.stage for standing in standings.values())
    return {
        "schema": SCHEMA,
        "at": text_of(condition.at),
        "kubernetes": condition.kubernetes,
        "synced": condition.synced,
        "notReady": list(condition.not_ready),
        "warnings": list(condition.warnings),
        "settings": {
            "enforcement": cluster.settings.enforcement.value,
            "existingConnections": cluster.settings.existing_connections.value,
        },
        "nodeCount": len(nodes),
        "currentCount": sum(node["connected"] and node["current"] for node in nodes),
        "nodes": shown,
        **_others("otherNodeCount", len(picture.others)),
        "policyCount": len(asked),
        "faultyCount": sum(ref in complaints for ref in asked),
        "states": {stage.value: states[stage] for stage in Stage},
        "policies": [
            _policy(ref, picture.written[ref], standings[ref], complaints.get(ref))
            for ref in sorted(ordered[:MOST_POLICIES])
        ],
    }


ORDER: Final[Mapping[Stage, int]] = {stage: place for place, stage in enumerate(Stage)}


def text_of(moment: datetime | None) -> str | None:
    """A time of day in UTC as RFC 3339 has it, in whole seconds."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _others(name: str, count: int) -> dict[str, int]:
    """A count of nodes that can have no enforcer; most clusters have none, and then nothing is said."""
    return {name: count} if count else {}


def _node(name: str, picture: Picture) -> dict[str, Any]:
    found = picture.nodes.get(name)
    if found is None:
        return {"name": name, "connected": False}
    status, moments = found
    nack = status.last_nack
    pods = () if status.in_force is None else status.in_force.rule_set.pods.values()
    return {
        "name": name,
        "connected": True,
        "connectedSince": text_of(moments.connected),
        "current": status.current and picture.is_told(status),
        "generationDesired": status.sent,
        "desiredSince": text_of(moments.sent),
        "generationApplied": status.acked,
        "appliedSince": text_of(moments.acked),
        "enforcement": None if status.enforcement is None else status.enforcement.value,
        "pods": sum(bool(pod.addresses) for pod in pods),
        "podsWaiting": sum(
            not pod.addresses and (pod.ingress is not None or pod.egress is not None) for pod in pods
        ),
        "nacks": status.nacks,
        "lastNack": None
        if nack is None
        else {
            "at": text_of(moments.nacked),
            "generation": nack.generation,
            "cause": nack.cause.value,
            "object": nack.object,
            "reason": nack.reason,
        },
    }


def _policy(
    ref: ObjectRef, written: Written, standing: Standing, complaint: Complaint | None
) -> dict[str, Any]:
    faults = () if complaint is None else complaint.faults
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "uid": written.uid,
        "resourceVersion": written.version,
        "state": standing.stage.value,
        "nodes": standing.nodes,
        "enforcedOn": standing.enforced_on,
        **_others("otherNodes", standing.others),
        "since": text_of(standing.since),
        "behind": [
            {"node": behind.node, "reason": behind.reason} for behind in standing.behind[:MOST_BEHIND]
        ],
        "faultCount": len(faults),
        "faults": [{"field": fault.where, "reason": fault.reason} for fault in faults[:MOST_FAULTS]],
        "consequence": "" if complaint is None else complaint.consequence,
    }
