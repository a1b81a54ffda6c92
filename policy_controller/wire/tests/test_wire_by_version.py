"""What peers of each version put on the wire is read as what it said, and what they read is said to them in the same bytes."""

import json
from typing import Final

import pytest

from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, decode_operator, encode_node, encode_operator
from policy_controller.wire.messages import DeltaMessage, NodeMessage, OperatorMessage, SnapshotMessage
from policy_controller.wire.tests.wire_by_version import (
    CONTENT,
    FIRST,
    SAID_BY_NODES,
    content_of,
    led_to,
)

SAID_BY_OPERATORS: Final = sorted(path.name for path in FIRST.iterdir() if path.name.startswith(("s", "d")))
HELD: Final = json.loads((FIRST / CONTENT).read_text())


def kept(name: str) -> bytes:
    return (FIRST / name).read_bytes()


def read(name: str) -> OperatorMessage:
    return decode_operator(pb.OperatorMessage.FromString(kept(name)))


def rule_set_of(name: str) -> RuleSet:
    message = read(name)
    snapshots = {
        other: held.rule_set
        for other in SAID_BY_OPERATORS
        if isinstance(held := read(other), SnapshotMessage)
    }
    return led_to(message, name, snapshots)


def test_nothing_that_is_kept_is_left_out() -> None:
    assert {path.name for path in FIRST.iterdir()} == {CONTENT, *SAID_BY_OPERATORS, *SAID_BY_NODES}
    assert set(HELD) == set(SAID_BY_OPERATORS)
    kinds = [pb.OperatorMessage.FromString(kept(name)).WhichOneof("kind") for name in SAID_BY_OPERATORS]
    assert set(kinds) == {"snapshot", "delta"}
    said = {pb.NodeMessage.FromString(kept(name)).WhichOneof("kind") for name in SAID_BY_NODES}
    # Version 1 never sends `observed`.
    assert said == {field.name for field in pb.NodeMessage.DESCRIPTOR.fields} - {"observed"}


@pytest.mark.parametrize("name", SAID_BY_OPERATORS)
def test_an_enforcer_reads_of_an_older_operator_what_it_said(name: str) -> None:
    message, rule_set = read(name), rule_set_of(name)
    assert json.loads(json.dumps(content_of(message, rule_set))) == HELD[name]
    if isinstance(message, DeltaMessage):
        assert message.digest == digest_of(rule_set)


@pytest.mark.parametrize("name", SAID_BY_OPERATORS)
def test_an_operator_says_to_an_older_enforcer_what_that_reads(name: str) -> None:
    assert encode_operator(read(name)).SerializeToString(deterministic=True) == kept(name)


@pytest.mark.parametrize(("name", "value"), SAID_BY_NODES.items())
def test_an_operator_reads_of_an_older_enforcer_what_it_said(name: str, value: NodeMessage) -> None:
    assert decode_node(pb.NodeMessage.FromString(kept(name))) == value


@pytest.mark.parametrize(("name", "value"), SAID_BY_NODES.items())
def test_an_enforcer_says_to_an_older_operator_what_that_reads(name: str, value: NodeMessage) -> None:
    assert encode_node(value).SerializeToString(deterministic=True) == kept(name)
