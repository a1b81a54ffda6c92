"""What a hostile case is, and the small cluster that it meets.

Knows API objects as trees. Knows nothing of how they are read or enforced.

Hostile objects act on the prey: pods of namespace `prey`. The bystanders are the policies and pods of namespace `good`,
whose verdicts no hostile object changes and whose changes none delays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from compilers.model.words import Direction

Json = dict[str, Any]

INGRESS: Final = frozenset({Direction.INGRESS})
EGRESS: Final = frozenset({Direction.EGRESS})
BOTH: Final = INGRESS | EGRESS
NOTHING: Final[frozenset[Direction]] = frozenset()

PREY, GOOD = "prey", "good"
PORT, OTHER_PORT = 80, 81
HOSTILE: Final = "hostile"
"""The name of a hostile object, where the name is not what is hostile."""


@dataclass(frozen=True, slots=True)
class Case:
    """Objects, what is said of them, and what they close.

    `told`: each is part of a fault of one of the objects; empty means that they have none. `closes`: directions in which
    prey/web must admit nothing; in the others the evaluator says what it admits. `beyond_room`: they are right and the
    evaluator admits what they say, but there is no room for it.
    """

    name: str
    objects: tuple[Json, ...] = field(repr=False)
    told: tuple[str, ...] = ()
    closes: frozenset[Direction] = NOTHING
    beyond_room: bool = False


def policy(spec: object, name: object = HOSTILE, namespace: object = PREY, **more: object) -> Json:
    """A NetworkPolicy with this spec; `more` are fields of the object itself."""
    metadata = {"namespace": namespace, "name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    } | more


def namespace(name: str, labels: Mapping[str, Any] | None = None) -> Json:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def pod(
    name: str, address: object = "", place: str = PREY, node: str = "node-a", **more: Mapping[str, object]
) -> Json:
    """A running Pod; `more` are fields of metadata, spec and status beside the usual ones."""
    ports = [{"name": "web", "containerPort": PORT, "protocol": "TCP"}]
    usual: Json = {
        "metadata": {"namespace": place, "name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "registry.example/app:1", "ports": ports}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": address}] if address else []},
    }
    return {"apiVersion": "v1", "kind": "Pod"} | {
        part: usual[part] | dict(more.get(part, {})) for part in usual
    }


def node(name: str, address: str) -> Json:
    """A Node."""
    addresses = [{"type": "InternalIP", "address": address}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"addresses": addresses},
    }


ADMITS_CLIENT: Final[Json] = {
    "podSelector": {"matchLabels": {"app": "server"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": PORT}]}],
}

BYSTANDERS: Final[tuple[Json, ...]] = (
    namespace(PREY),
    namespace(GOOD),
    node("node-a", "192.0.2.1"),
    node("node-b", "192.0.2.2"),
    pod("web", "10.244.1.2"),
    pod("server", "10.244.1.3", GOOD),
    pod("client", "10.244.2.2", GOOD, "node-b"),
    policy(ADMITS_CLIENT, "admits-client", GOOD),
)
"""The cluster that every case is put into: prey/web is open until a case closes it."""
