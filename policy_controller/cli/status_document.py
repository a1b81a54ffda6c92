"""The document of /status as policyctl reads it: `status/v1`.

Knows the fields that are shown, and is the schema of docs/schemas/status-v1.json; others that a later operator tells are
left alone. Knows nothing of terminals.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

SCHEMA: Final = Path(__file__).parents[2] / "docs" / "schemas" / "status-v1.json"
"""In a checkout."""


class Unreadable(Exception):  # noqa: N818 - named for what it says
    """An answer that is no status/v1; the text says why."""


class _Struct(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Refusal(_Struct, frozen=True):
    """The last generation that a node did not put in force, and when it said so."""

    generation: int
    cause: str
    object: str
    reason: str
    at: datetime | None = None


class Node(_Struct, frozen=True):
    """A node of the cluster, or one that is connected; of one that is not, nothing more is known.

    Generations count from 1 on each stream, 0 is none yet. `current`: what is in force is the operator's last word.
    `enforcement`: what the generation in force says of the cluster, null while that is not known. `pods`
    have gates and an address, `pods_waiting` are isolated and wait for their address.
    """

    name: str
    connected: bool
    connected_since: datetime | None = None
    current: bool = False
    generation_desired: int = 0
    desired_since: datetime | None = None
    generation_applied: int = 0
    applied_since: datetime | None = None
    enforcement: str | None = None
    pods: int = 0
    pods_waiting: int = 0
    nacks: int = 0
    last_nack: Refusal | None = None


class Settings(_Struct, frozen=True):
    """What holds for the whole cluster, as the operator knows it."""

    enforcement: str = "enforced"
    existing_connections: str = "keep"


class Fault(_Struct, frozen=True):
    """What is wrong in a policy; `field` is "" when it is the whole."""

    field: str
    reason: str


class Behind(_Struct, frozen=True):
    """A node on which a policy is not known to be in force as it is now, and why."""

    node: str
    reason: str


class Policy(_Struct, frozen=True):
    """A policy, the version of it that the operator knows, and how far that has come.

    `state`: closed (something of it cannot be enforced, so pods that it selects admit nothing), waiting, enforced (on all
    `nodes`, `since` then), unused (it isolates no pod). `nodes` have pods that it isolates, or still hold an earlier version
    of it; the first of those on which it is not in force are in `behind`. `resource_version` is 0 where the API server's is
    no number. `consequence` says what is closed until the faults are mended.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int
    state: Literal["closed", "waiting", "enforced", "unused"]
    nodes: int
    enforced_on: int
    since: datetime | None
    behind: Sequence[Behind]
    fault_count: int
    faults: Sequence[Fault]
    consequence: str


class Status(_Struct, frozen=True):
    """What the operator tells, `at` that time. `not_ready`: why nodes are not served what the cluster says; `warnings`: what else is amiss.

    The counts are of all there are, and of all policies that were asked about; the lists are by name,
    and where there is more than they hold, those that are not well are in them. Who asks about policies by their names is
    told of no nodes.
    """

    schema: Literal["status/v1"]
    at: datetime
    synced: bool
    node_count: int
    current_count: int
    nodes: Sequence[Node]
    policy_count: int
    faulty_count: int
    states: Mapping[str, int]
    policies: Sequence[Policy]
    kubernetes: str = ""
    not_ready: Sequence[str] = ()
    warnings: Sequence[str] = ()
    settings: Settings = Settings()

    @property
    def well(self) -> bool:
        """Whether every node enforces the operator's last word, and no policy has a fault."""
        enforced = self.current_count == self.node_count
        return self.synced and not self.not_ready and enforced and self.faulty_count == 0


def read_status(body: bytes) -> Status:
    """Raises Unreadable."""
    try:
        return msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError as fault:
        raise Unreadable(f"the operator's status cannot be read: {fault}") from fault


def schema() -> bytes:
    """The document as a JSON Schema (2020-12), as it is written down."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Status)}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
