"""What crosses the wire arrives as it was sent, in one encoding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.model.words import Address
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import apply, difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, decode_operator, encode_node, encode_operator
from policy_controller.wire.limits import Limits
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    FreshToken,
    Hello,
    InForce,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    SnapshotMessage,
    Stands,
    Tampered,
)
from policy_controller.wire.refused import Refused
from policy_controller.wire.tests.rule_sets import addresses, rule_sets

ended = st.frozensets(addresses, max_size=6)
STANDS = Stands(pods=7, namespaces=(1 << 64) - 1, policies=0, settings=9)


def carried(value: OperatorMessage) -> OperatorMessage:
    sent = encode_operator(value).SerializeToString(deterministic=True)
    return decode_operator(pb.OperatorMessage.FromString(sent))


@given(rule_sets(), ended)
@settings(max_examples=200, deadline=None)
def test_a_snapshot_arrives_as_it_was_sent(rule_set: RuleSet, ended: frozenset[Address]) -> None:
    message = SnapshotMessage(3, STANDS, rule_set, ended)
    assert carried(message) == message


@given(rule_sets(), rule_sets(), ended)
@settings(max_examples=200, deadline=None)
def test_a_delta_arrives_as_it_was_sent_and_leads_to_its_digest(
    old: RuleSet, new: RuleSet, ended: frozenset[Address]
) -> None:
    message = DeltaMessage(3, 4, STANDS, digest_of(new), difference(old, new), ended)
    arrived = carried(message)
    assert arrived == message
    assert isinstance(arrived, DeltaMessage)
    assert digest_of(apply(arrived.delta, old)) == arrived.digest


@given(rule_sets(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_equal_rule_sets_have_equal_bytes_whatever_their_parts_came_in(
    rule_set: RuleSet, random: st.DataObject
) -> None:
    parts = {
        name: list(getattr(rule_set, name).values())
        for name in ("peer_sets", "port_sets", "block_sets", "classes", "pods")
    }
    for listed in parts.values():
        random.shuffle(listed)  # type: ignore[attr-defined]  # hypothesis types randoms() as something vaguer
    legend = list(rule_set.legend.items())
    random.shuffle(legend)  # type: ignore[attr-defined]  # as above
    again = RuleSet.of(rule_set.node, legend=dict(legend), enforcement=rule_set.enforcement, **parts)
    one, other = (
        encode_operator(SnapshotMessage(1, STANDS, value)).SerializeToString(deterministic=True)
        for value in (rule_set, again)
    )
    assert one == other


@pytest.mark.parametrize(
    "message",
    [
        Hello("node-1"),
        Hello("node-1", InForce(9, (1 << 128) - 1, STANDS), ("observes",)),
        Ack(9, 1),
        *(Nack(9, cause, "classes[0]", "is not there", 8) for cause in NackCause),
        FreshToken("eyJ.e30.c2ln"),
        Tampered("nft", 4711, tuple(TableFamily), 1, 1_700_000_000),
        Tampered("unknown", 0, (TableFamily.BRIDGE,), (1 << 32) - 1, 0),
    ],
)
def test_what_a_node_says_arrives_as_it_was_sent(message: NodeMessage) -> None:
    sent = encode_node(message).SerializeToString(deterministic=True)
    assert decode_node(pb.NodeMessage.FromString(sent)) == message


def test_texts_of_a_nack_are_fit_for_a_log_line() -> None:
    sent = pb.NodeMessage(
        nack=pb.Nack(generation=1, cause=pb.NACK_CAUSE_KERNEL, object="\x1b[2J\nroot", reason="é" * 5000)
    )
    nack = decode_node(sent)
    assert isinstance(nack, Nack)
    assert nack.object == "\\x1b[2J\\nroot"
    assert len(nack.reason) <= 200
    assert nack.reason.isascii()


def test_names_of_processes_are_fit_for_a_log_line() -> None:
    tampered = pb.Tampered(process="\x1b[2J\nroot", tables=[pb.TABLE_FAMILY_INET], times=1)
    said = decode_node(pb.NodeMessage(tampered=tampered))
    assert said == Tampered("\\x1b[2J\\nroot", 0, (TableFamily.INET,), 1, 0)


def test_a_state_is_behind_when_any_kind_known_on_both_sides_is_older() -> None:
    cases = [
        (Stands(1, 1, 1), Stands(1, 1, 1), False),
        (Stands(2, 2, 2), Stands(1, 1, 1), False),
        (Stands(1, 2, 2), Stands(2, 1, 1), True),
        (Stands(2, 1, 2), Stands(1, 2, 1), True),
        (Stands(2, 2, 1), Stands(1, 1, 2), True),
        (Stands(1, 1, 1, 1), Stands(1, 1, 1, 2), True),
        (Stands(1, 1, 1, 2), Stands(1, 1, 1, 1), False),
        (Stands(0, 0, 0, 0), Stands(9, 9, 9, 9), False),
        (Stands(9, 9, 9, 9), Stands(0, 0, 0, 0), False),
    ]
    for mine, theirs, behind in cases:
        assert mine.is_behind(theirs) is behind, (mine, theirs)


def test_of_two_states_the_later_counts_kind_by_kind() -> None:
    assert Stands(0, 2, 3, 9).after(Stands(5, 1, 4, 0)) == Stands(5, 2, 4, 9)


def test_a_message_too_large_to_arrive_is_not_sent() -> None:
    message = SnapshotMessage(1, STANDS, RuleSet.of("node-1"))
    size = encode_operator(message).ByteSize()
    assert encode_operator(message, Limits(message_bytes=size)).ByteSize() == size
    with pytest.raises(Refused, match=f"has {size} bytes, at most {size - 1}"):
        encode_operator(message, Limits(message_bytes=size - 1))
