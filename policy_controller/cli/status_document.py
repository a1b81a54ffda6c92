"""The document of /status as policyctl reads it: `status/v1`.

Knows the fields that are shown; others that a later operator tells are left alone. Knows nothing of terminals.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec


class Unreadable(Exception):  # noqa: N818 - named for what it says
    """An answer that is no status/v1; the text says why."""


class _Struct(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Refusal(_Struct, frozen=True):
    """The last generation that a node did not put in force."""

    generation: int
    cause: str
    object: str
    reason: str


class Node(_Struct, frozen=True):
    """A node of the cluster, or one that is connected."""

    name: str
    connected: bool
    current: bool = False
    generation_desired: int = 0
    generation_acked: int = 0
    nacks: int = 0
    last_nack: Refusal | None = None


class Fault(_Struct, frozen=True):
    """What is wrong in a policy; `field` is "" when it is the whole."""

    field: str
    reason: str


class Policy(_Struct, frozen=True):
    """A policy with faults; `consequence` says what is closed until they are mended."""

    namespace: str
    name: str
    fault_count: int
    faults: Sequence[Fault]
    consequence: str


class Status(_Struct, frozen=True):
    """What the operator tells. `not_ready`: why nodes are not served what the cluster says; `warnings`: what else is amiss."""

    schema: Literal["status/v1"]
    synced: bool
    nodes: Sequence[Node]
    policy_count: int
    policies: Sequence[Policy]
    not_ready: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def well(self) -> bool:
        """Whether every node enforces the operator's last word, and no policy has a fault."""
        enforced = all(node.connected and node.current for node in self.nodes)
        return self.synced and not self.not_ready and enforced and self.policy_count == 0


def read_status(body: bytes) -> Status:
    """Raises Unreadable."""
    try:
        return msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError as fault:
        raise Unreadable(f"the operator's status cannot be read: {fault}") from fault
