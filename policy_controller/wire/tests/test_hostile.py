"""Whatever arrives is either legal in every part or refused as a whole, by one type of error that names the fault."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, decode_operator
from policy_controller.wire.limits import Limits
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage
from policy_controller.wire.refused import Refused
from policy_controller.wire.tests.messages import OTHER_PEERS, delta, edits, snapshot

SNAPSHOT, DELTA = snapshot().SerializeToString(), delta().SerializeToString()
End = TypeVar("End", pb.OperatorMessage, pb.NodeMessage)

INET = pb.TABLE_FAMILY_INET


def refusal(data: bytes, message_type: type[End], decode: Callable[[End], object]) -> Refused | None:
    """The refusal of what parses as this message, if it is refused; any other error is an error of the test."""
    try:
        decode(message_type.FromString(data))
    except DecodeError:
        return None
    except Refused as refused:
        return refused
    return None


def read(data: bytes) -> None:
    """Read bytes as either end would, and check that what is refused is named in words fit to print."""
    refusals = (
        refusal(data, pb.OperatorMessage, decode_operator),
        refusal(data, pb.NodeMessage, decode_node),
    )
    for refused in refusals:
        if refused is not None:
            assert refused.object
            assert refused.reason
            assert str(refused).isprintable()


def test_the_messages_that_the_tests_break_are_legal() -> None:
    assert isinstance(decode_operator(snapshot()), SnapshotMessage)
    assert isinstance(decode_operator(delta()), DeltaMessage)


@given(st.binary(max_size=200))
@example(b"\x08\x01\x12\x02\x08\x01")
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    read(data)


@given(
    st.sampled_from((SNAPSHOT, DELTA)),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3), st.integers(0, 3)), max_size=4),
)
@settings(max_examples=500, deadline=None)
def test_changed_bytes_raise_nothing_but_a_refusal(
    data: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    for position, put, gone in changes:
        at = position % (len(data) + 1)
        data = data[:at] + put + data[at + gone :]
    read(data)


@given(st.sampled_from((snapshot, delta)), st.lists(edits(), min_size=1, max_size=3))
@settings(max_examples=500, deadline=None)
def test_changed_fields_raise_nothing_but_a_refusal(
    make: Callable[[], pb.OperatorMessage], changes: list[Callable[[Message], None]]
) -> None:
    message = make()
    for change in changes:
        change(message)
    read(message.SerializeToString())


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(message_bytes=100), "message: has [0-9]+ bytes, at most 100"),
        (Limits(sets=1), "peer_sets: has 2 entries, at most 1"),
        (Limits(set_elements=1), r"peer_sets\[[01]\].addresses: IPv4: has 2 entries, at most 1"),
        (Limits(classes=1), "classes: has 2 entries, at most 1"),
        (Limits(class_policies=1), r"classes\[0\].policies: has 2 entries, at most 1"),
        (Limits(class_rules=2), r"classes\[0\].rules: has 3 entries, at most 2"),
        (Limits(rules=5), "classes: have 6 rules together, at most 5"),
        (Limits(pods=1), "pods: has 2 entries, at most 1"),
        (Limits(pod_addresses=0), r"pods\[0\].addresses: IPv4: has 1 entries, at most 0"),
        (Limits(legend_addresses=1), "legend: has 2 entries, at most 1"),
    ],
)
def test_a_message_beyond_a_limit_is_refused_by_the_limit(limits: Limits, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        decode_operator(snapshot(), limits)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (pb.NodeMessage(), "message: is missing"),
        (pb.NodeMessage(observed=pb.Observed()), "observed: is not sent"),
        (pb.NodeMessage(hello=pb.Hello(protocol_version=1, node="")), "hello.node: is not a DNS subdomain"),
        (
            pb.NodeMessage(hello=pb.Hello(protocol_version=1, node="a", capabilities=["A"])),
            r"hello.capabilities\[0\]",
        ),
        (pb.NodeMessage(ack=pb.Ack(generation=1)), "ack: has 0 bytes instead of 16"),
        (pb.NodeMessage(nack=pb.Nack(generation=1)), "nack.cause: 0 is not a value"),
        (pb.NodeMessage(token=pb.Token()), "token: is not a bearer token"),
        (pb.NodeMessage(token=pb.Token(token="a b")), "token: is not a bearer token"),
        (pb.NodeMessage(tampered=pb.Tampered(tables=[INET])), "tampered.times: counts from 1"),
        (pb.NodeMessage(tampered=pb.Tampered(times=1)), "tampered.tables: are missing"),
        (
            pb.NodeMessage(tampered=pb.Tampered(times=1, tables=[pb.TABLE_FAMILY_UNSPECIFIED])),
            r"tampered.tables\[0\]: 0 is not a value",
        ),
        (
            pb.NodeMessage(tampered=pb.Tampered(times=1, tables=[INET, INET])),
            r"tampered.tables\[1\]: repeats or is out of order",
        ),
        (pb.NodeMessage(tampered=pb.Tampered(times=1, tables=[INET] * 3)), "tampered.tables: has 3"),
        (
            pb.NodeMessage(tampered=pb.Tampered(times=1, tables=[INET], at=1 << 60)),
            "tampered.at: is not a time",
        ),
    ],
)
def test_a_node_wrong_in_one_field_is_refused_by_that_field(message: pb.NodeMessage, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        decode_node(message)


def test_the_other_peer_set_is_empty_and_still_arrives() -> None:
    arrived = decode_operator(snapshot())
    assert isinstance(arrived, SnapshotMessage)
    assert arrived.rule_set.peer_sets[OTHER_PEERS].addresses == frozenset()
