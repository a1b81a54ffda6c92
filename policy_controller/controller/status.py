"""The document of /status: which nodes enforce what is desired, and which policies are wrong.

Knows its schema, `status/v1`. Strings from the cluster are values in it, never syntax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from compilers.model.cluster import Cluster
from policy_controller.controller.complaints import Complaint
from policy_controller.controller.sessions import SessionStatus
from policy_controller.controller.streams import NodeStreams

SCHEMA: Final = "status/v1"
MOST_POLICIES: Final = 1_000
MOST_FAULTS: Final = 10
"""Of one policy. Whoever writes policies must not make the document as long as they like."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How the operator itself is. `kubernetes`: the cluster's version, "" until it is known."""

    synced: bool
    kubernetes: str
    not_ready: Sequence[str]
    """Why nodes are not served what the cluster says."""
    warnings: Sequence[str]


def status_document(
    cluster: Cluster, streams: NodeStreams, told: Sequence[Complaint], condition: Condition
) -> dict[str, Any]:
    """Nodes that exist or are connected, and policies with faults, each sorted; of many the first, and how many."""
    statuses = streams.statuses()
    names = sorted({*cluster.nodes, *statuses})
    return {
        "schema": SCHEMA,
        "kubernetes": condition.kubernetes,
        "synced": condition.synced,
        "notReady": list(condition.not_ready),
        "warnings": list(condition.warnings),
        "settings": {
            "enforcement": cluster.settings.enforcement.value,
            "existingConnections": cluster.settings.existing_connections.value,
        },
        "nodes": [_node(name, statuses.get(name)) for name in names],
        "policyCount": len(told),
        "policies": [
            {
                "namespace": complaint.policy.namespace,
                "name": complaint.policy.name,
                "faultCount": len(complaint.faults),
                "faults": [
                    {"field": fault.where, "reason": fault.reason} for fault in complaint.faults[:MOST_FAULTS]
                ],
                "consequence": complaint.consequence,
            }
            for complaint in told[:MOST_POLICIES]
        ],
    }


def _node(name: str, status: SessionStatus | None) -> dict[str, Any]:
    if status is None:
        return {"name": name, "connected": False}
    nack = status.last_nack
    return {
        "name": name,
        "connected": True,
        "current": status.current,
        "generationDesired": status.sent,
        "generationAcked": status.acked,
        "enforcement": None if status.enforcement is None else status.enforcement.value,
        "nacks": status.nacks,
        "lastNack": None
        if nack is None
        else {
            "generation": nack.generation,
            "cause": nack.cause.value,
            "object": nack.object,
            "reason": nack.reason,
        },
    }
