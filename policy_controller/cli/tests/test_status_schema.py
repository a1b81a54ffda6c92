"""The schema of the status document: written down, and what a real operator says is of it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from policy_controller.cli.status_document import SCHEMA, Status, Unreadable, read_status, schema
from policy_controller.controller.status import EVERYTHING
from policy_controller.controller.tests import enforcers, objects
from policy_controller.controller.tests.objects import allow_from, new
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.wire.messages import NackCause


class Strict(Status, frozen=True, forbid_unknown_fields=True):
    """The same, and nothing else."""


def test_the_written_schema_is_that_of_the_document() -> None:
    assert SCHEMA.read_bytes() == schema()


async def test_what_an_operator_says_is_of_the_schema(tmp_path: Path) -> None:
    async with ApiServer.running(validate=False) as server:
        enforcers.install(server, ("node-1", "node-2"))
        server.create(new(objects.namespace("shop")))
        for number in (1, 2):
            server.create(new(objects.node(f"node-{number}", address=f"192.0.2.{number}")))
            server.create(
                new(objects.pod(f"web-{number}", address=f"10.0.0.{number}", node=f"node-{number}"))
            )
        server.create(new(objects.policy("broken", allow_from({"app": "a"}, port=70000))))
        server.create(new(objects.policy("idle", {"podSelector": {"matchLabels": {"app": "none"}}})))
        async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
            await one.refuse(await one.hear(), NackCause.KERNEL)
            await eventually(lambda: running.operator.server.nacks.total() == 1)
            told = await running.operator.status(EVERYTHING)
    document = msgspec.json.encode(told)
    msgspec.json.decode(document, type=Strict)
    read = read_status(document)
    assert [(one.name, one.connected, one.nacks) for one in read.nodes] == [
        ("node-1", True, 1),
        ("node-2", False, 0),
    ]
    assert [(one.name, one.state, one.nodes) for one in read.policies] == [
        ("broken", "closed", 2),
        ("idle", "unused", 0),
    ]
    assert keys(told) <= named(msgspec.json.decode(schema()))


def keys(value: object) -> set[str]:
    """Every key of a document, at whatever depth; not those of the states, which are values."""
    if isinstance(value, dict):
        inner = (keys(one) for name, one in value.items() if name != "states")
        return set(value).union(*inner)
    return set().union(*map(keys, value)) if isinstance(value, (list, tuple)) else set()


def named(value: dict[str, Any]) -> set[str]:
    return {name for one in value["$defs"].values() for name in one["properties"]}


@pytest.mark.parametrize(
    "change",
    [{"schema": "status/v2"}, {"at": "yesterday"}, {"nodeCount": None}, {"policies": [{"name": "web"}]}],
)
def test_what_is_not_of_the_schema_is_not_read(change: dict[str, object]) -> None:
    whole = {
        "schema": "status/v1",
        "at": "2026-01-02T00:00:00Z",
        "synced": True,
        **dict.fromkeys(("nodeCount", "currentCount", "policyCount", "faultyCount"), 0),
        "nodes": [],
        "policies": [],
        "states": {},
    }
    assert read_status(msgspec.json.encode(whole)).well
    with pytest.raises(Unreadable):
        read_status(msgspec.json.encode(whole | change))
