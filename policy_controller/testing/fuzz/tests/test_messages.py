"""Messages and saved rule sets: legal or refused, and what is legal means the same once written and read again."""

from collections.abc import Callable
from typing import Final

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from compilers.nftables.words import TableFamily
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_bytes
from policy_controller.testing.fuzz.tests.told import ACCEPTED, COUNTED, Record, check_told
from policy_controller.testing.fuzz.tries import tries
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, decode_operator, encode_node, encode_operator
from policy_controller.wire.messages import (
    Ack,
    FreshToken,
    Hello,
    InForce,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    Stands,
    Tampered,
)
from policy_controller.wire.refused import Refused
from policy_controller.wire.saved import (
    FRAME,
    MAGIC,
    VERSION,
    UnfitError,
    checksum,
    decode_saved,
    encode_saved,
)
from policy_controller.wire.tests.messages import delta, edits, snapshot
from policy_controller.wire.tests.saved_by_version import FIRST, FIRST_HOLDS

pytestmark = pytest.mark.timeout(900)

OPERATOR: Final = [make().SerializeToString() for make in (snapshot, delta)]
SAID: Final[list[NodeMessage]] = [
    Hello("node-1", InForce(3, 1 << 100, Stands(1, 2, 3)), ("a", "b-1")),
    Hello("node-1"),
    Ack(7, 5),
    Nack(7, NackCause.KERNEL, "rule 3", "Device or resource busy", 6),
    FreshToken("eyJhbGciOi.eyJhdWQiOi.c2lnbmF0dXJl"),
    Tampered("nft", 4711, tuple(TableFamily), 3, 1_700_000_000),
]
NODE: Final = [encode_node(said).SerializeToString() for said in SAID]
WORDS: Final = (
    b"\x08\x01",
    b"\x12\x00",
    b"\x1a\x04",
    b"\xf8\x7f\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80" * 10,
    b"\x0b",
    b"\x0c",
)
WHOLE: Final = FIRST.read_bytes()
NODE_NAME: Final = FIRST_HOLDS.rule_set.node


def operator_said(content: bytes) -> OperatorMessage | None:
    """What is read; None: refused, in words fit to print."""
    try:
        return decode_operator(pb.OperatorMessage.FromString(content))
    except DecodeError:
        return None
    except Refused as refused:
        check_told(refused)
        return None


def node_said(content: bytes) -> NodeMessage | None:
    try:
        return decode_node(pb.NodeMessage.FromString(content))
    except DecodeError:
        return None
    except Refused as refused:
        check_told(refused)
        return None


def edited(make: Callable[[], pb.OperatorMessage], changes: list[Callable[[Message], None]]) -> bytes:
    message = make()
    for change in changes:
        change(message)
    return message.SerializeToString()


EDITED: Final = st.builds(
    edited, st.sampled_from((snapshot, delta)), st.lists(edits(), min_size=1, max_size=2)
)


def test_a_changed_message_of_the_operator_is_refused_or_means_the_same_once_written_again(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 300, 15_000)
    @given(changed_bytes(OPERATOR, WORDS) | EDITED | st.binary(max_size=100))
    def check(content: bytes) -> None:
        tried.append(content)
        said = operator_said(content)
        if said is not None:
            accepted.append(content)
            assert operator_said(encode_operator(said).SerializeToString()) == said

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


def test_a_changed_message_of_a_node_is_refused_or_means_the_same_once_written_again(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 300, 15_000)
    @given(changed_bytes(NODE, WORDS) | st.binary(max_size=100))
    def check(content: bytes) -> None:
        tried.append(content)
        said = node_said(content)
        if said is not None:
            accepted.append(content)
            assert node_said(encode_node(said).SerializeToString()) == said

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


def framed(content: bytes, version: int = VERSION) -> bytes:
    """A frame that shows no damage, whatever is in it."""
    frame = FRAME.pack(MAGIC, version, len(content))
    return frame + checksum(frame, content) + content


FRAMED: Final = st.builds(framed, changed_bytes([WHOLE[FRAME.size + 32 :], *OPERATOR], WORDS) | EDITED)


def test_a_changed_saved_rule_set_is_refused_or_means_the_same_once_saved_again(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 300, 15_000)
    @given(FRAMED | changed_bytes([WHOLE], WORDS) | st.binary(max_size=100))
    def check(content: bytes) -> None:
        tried.append(content)
        try:
            saved = decode_saved(content, NODE_NAME)
        except UnfitError as unfit:
            check_told(unfit)
            return
        accepted.append(content)
        assert decode_saved(encode_saved(saved), NODE_NAME) == saved

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted
