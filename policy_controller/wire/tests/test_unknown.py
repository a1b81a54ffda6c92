"""Fields that this end does not know: the whole message is refused, and the refusal names where they are."""

from collections.abc import Callable

import pytest

from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire import unknown
from policy_controller.wire.convert import decode_node, decode_operator
from policy_controller.wire.refused import Refused
from policy_controller.wire.tests.messages import delta, parts, snapshot

UNKNOWN_FIELD = b"\xf8\x7f\x01"


@pytest.mark.parametrize("make", [snapshot, delta])
def test_an_unknown_field_at_any_depth_refuses_the_whole_message(
    make: Callable[[], pb.OperatorMessage],
) -> None:
    count = len(list(parts(make())))
    assert count > 20
    named = set()
    for index in range(count):
        message = make()
        part = list(parts(message))[index]
        part.MergeFromString(UNKNOWN_FIELD)
        with pytest.raises(Refused, match="has field 2047, which protocol version 1 does not know") as caught:
            decode_operator(message)
        named.add(caught.value.object)
    assert len(named) == count


def test_an_unknown_field_far_behind_is_refused_and_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown, "MOST_PARTS", 3)
    message = snapshot()
    message.snapshot.legend[-1].MergeFromString(UNKNOWN_FIELD)
    with pytest.raises(Refused, match="message: has a field that protocol version 1 does not know"):
        decode_operator(message)


def test_a_message_of_another_version_is_refused_by_version_even_if_it_holds_unknown_fields() -> None:
    message = snapshot()
    message.protocol_version = 2
    message.snapshot.MergeFromString(UNKNOWN_FIELD)
    with pytest.raises(Refused, match="protocol_version: is 2, this end speaks 1"):
        decode_operator(message)
    hello = pb.NodeMessage(hello=pb.Hello(protocol_version=9, node="node-1"))
    hello.hello.MergeFromString(UNKNOWN_FIELD)
    with pytest.raises(Refused, match="protocol_version: is 9, this end speaks 1"):
        decode_node(hello)
