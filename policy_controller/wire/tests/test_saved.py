"""A saved rule set is read as it was written, or refused with what is wrong with it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.model.settings import ExistingConnections
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.parts import PodEntry
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire import saved
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage, Stands
from policy_controller.wire.saved import (
    FRAME,
    HEADER_BYTES,
    MAGIC,
    VERSION,
    Flaw,
    UnfitError,
    checksum,
    decode_saved,
    encode_saved,
)
from policy_controller.wire.tests.messages import edits
from policy_controller.wire.tests.rule_sets import rule_sets
from policy_controller.wire.tests.saved_by_version import FIRST, FIRST_HOLDS

NODE = FIRST_HOLDS.rule_set.node
STANDS = Stands(pods=7, namespaces=(1 << 64) - 1, policies=0)
WHOLE = FIRST.read_bytes()


def flaw_of(content: bytes, node: str = NODE) -> Flaw:
    with pytest.raises(UnfitError) as caught:
        decode_saved(content, node)
    assert str(caught.value).isprintable()
    return caught.value.flaw


def framed(message: pb.OperatorMessage, version: int = VERSION, magic: bytes = MAGIC) -> bytes:
    """A frame whose checksum is right, whatever is in it."""
    content = message.SerializeToString(deterministic=True)
    frame = FRAME.pack(magic, version, len(content))
    return frame + checksum(frame, content) + content


@given(rule_sets())
@settings(max_examples=100, deadline=None)
def test_what_is_saved_is_read_again(rule_set: RuleSet) -> None:
    snapshot = SnapshotMessage(3, STANDS, rule_set)
    assert decode_saved(encode_saved(snapshot), rule_set.node) == snapshot


def test_what_is_not_chosen_leaves_no_trace_that_an_older_peer_would_refuse() -> None:
    kept, cut = (
        replace(FIRST_HOLDS, rule_set=replace(FIRST_HOLDS.rule_set, pods=pods))
        for pods in (FIRST_HOLDS.rule_set.pods, _cut(FIRST_HOLDS.rule_set))
    )
    assert encode_saved(kept) == WHOLE
    assert decode_saved(encode_saved(cut), NODE) == cut != kept


def _cut(rule_set: RuleSet) -> dict[str, PodEntry]:
    return {uid: replace(pod, existing=ExistingConnections.CUT) for uid, pod in rule_set.pods.items()}


def test_files_of_earlier_versions_are_read() -> None:
    assert decode_saved(WHOLE, NODE) == FIRST_HOLDS


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=500, deadline=None)
def test_no_byte_may_be_another(place: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= change
    flaw_of(bytes(damaged))


def test_no_bit_may_be_another() -> None:
    for place in range(len(WHOLE)):
        for bit in range(8):
            damaged = bytearray(WHOLE)
            damaged[place] ^= 1 << bit
            flaw_of(bytes(damaged))


def test_no_byte_may_be_missing_at_the_end() -> None:
    for length in range(len(WHOLE)):
        assert flaw_of(WHOLE[:length]) is Flaw.TRUNCATED


@given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_byte_may_be_added(place: int, added: bytes) -> None:
    flaw_of(WHOLE[:place] + added + WHOLE[place:])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 4096))
@settings(max_examples=300, deadline=None)
def test_no_block_may_be_zeros(place: int, length: int) -> None:
    """What a file system may give back of a block that never reached the disk."""
    zeroed = WHOLE[:place] + bytes(len(WHOLE[place : place + length])) + WHOLE[place + length :]
    if zeroed != WHOLE:
        flaw_of(zeroed)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(MAGIC.__add__))
@settings(max_examples=300, deadline=None)
def test_whatever_else_is_there_is_refused(content: bytes) -> None:
    flaw_of(content)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_a_right_checksum_does_not_make_anything_legal(content: bytes) -> None:
    frame = FRAME.pack(MAGIC, VERSION, len(content))
    assert flaw_of(frame + checksum(frame, content) + content) in {
        Flaw.CONTENT,
        Flaw.VERSION,
    }


def legal() -> pb.OperatorMessage:
    return encode_operator(FIRST_HOLDS)


def with_digest_of_another() -> pb.OperatorMessage:
    message = legal()
    message.snapshot.digest = bytes(16)
    return message


def with_other_protocol() -> pb.OperatorMessage:
    message = legal()
    message.protocol_version = 2
    return message


def with_open_end() -> pb.OperatorMessage:
    message = legal()
    message.snapshot.classes[0].rules[0].ClearField("peer")
    return message


def delta() -> pb.OperatorMessage:
    rule_set = FIRST_HOLDS.rule_set
    nothing = difference(rule_set, rule_set)
    return encode_operator(DeltaMessage(1, 2, STANDS, digest_of(rule_set), nothing))


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (framed(with_digest_of_another()), Flaw.DIGEST),
        (framed(with_other_protocol()), Flaw.VERSION),
        (framed(with_open_end()), Flaw.CONTENT),
        (framed(delta()), Flaw.CONTENT),
        (framed(legal(), version=2), Flaw.VERSION),
        (framed(legal(), magic=b"RULENODE"), Flaw.CONTENT),
        (b"", Flaw.TRUNCATED),
        (WHOLE + b"\0", Flaw.TRUNCATED),
    ],
)
def test_each_flaw_has_its_name(content: bytes, flaw: Flaw) -> None:
    assert flaw_of(content) is flaw


def check_edited(changes: list[Callable[[Message], None]]) -> None:
    message = legal()
    for change in changes:
        change(message)
    try:
        read = decode_saved(framed(message), NODE)
    except UnfitError:
        return
    # What is let through is as legal as what a network brings.
    assert decode_saved(encode_saved(read), NODE) == read


@pytest.mark.parametrize("examples", [300, pytest.param(20_000, marks=pytest.mark.whole)])
def test_whatever_stands_in_a_whole_frame_is_legal_or_refused(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(st.lists(edits(), min_size=1, max_size=3))
    def check(changes: list[Callable[[Message], None]]) -> None:
        check_edited(changes)

    check()


def test_the_rule_set_of_another_node_is_refused() -> None:
    assert flaw_of(WHOLE, "node-2") is Flaw.NODE


def test_a_file_larger_than_a_message_may_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_BYTES", len(WHOLE) - 1)
    assert flaw_of(WHOLE) is Flaw.TOO_LARGE


def test_the_header_is_as_long_as_it_is_said_to_be() -> None:
    assert HEADER_BYTES == 8 + 4 + 8 + 32
    assert pb.OperatorMessage.FromString(WHOLE[HEADER_BYTES:]) == legal()
