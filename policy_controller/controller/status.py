"""The document of /status: which nodes enforce what is desired, and which policies are wrong.

Knows its schema, `status/v1`. Strings from the cluster are values in it, never syntax.
"""

from typing import Any, Final

from policy_controller.controller.events import consequence_of, invalid_policies
from policy_controller.controller.sessions import SessionStatus
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams

SCHEMA: Final = "status/v1"


def status_document(store: Store, streams: NodeStreams, synced: bool) -> dict[str, Any]:
    """Nodes that exist or are connected, and invalid policies, each sorted."""
    cluster, statuses = store.cluster(), streams.statuses()
    names = sorted({*cluster.nodes, *statuses})
    return {
        "schema": SCHEMA,
        "synced": synced,
        "nodes": [_node(name, statuses.get(name)) for name in names],
        "policies": [
            {
                "namespace": policy.namespace,
                "name": policy.name,
                "faults": [{"field": fault.where, "reason": fault.reason} for fault in policy.faults],
                "consequence": consequence_of(policy),
            }
            for policy in invalid_policies(store)
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
