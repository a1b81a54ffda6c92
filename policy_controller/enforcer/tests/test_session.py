"""What a node answers, from what it has and what it hears; no kernel, no stream."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.ruleset.delta import NOTHING, difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.session import Generation, NotAcceptedError, Session
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    NODE,
    ONE,
    THREE,
    TWO,
    WEB_CHANGED,
    WEB_ISOLATED,
    WEB_SUCCEEDED,
)
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Hello,
    InForce,
    Nack,
    NackCause,
    OperatorMessage,
    SnapshotMessage,
    Stands,
)
from policy_controller.wire.refused import Refused

STANDS = Stands(10, 10, 10)


def delta(base: int, generation: int, old: RuleSet, new: RuleSet) -> DeltaMessage:
    return DeltaMessage(base, generation, STANDS, digest_of(new), difference(old, new))


@pytest.fixture
def session() -> Session:
    """A stream that has brought generation 1, which is in force."""
    session = Session(NODE)
    assert session.begin_stream() == Hello(NODE)
    generation = session.judge(SnapshotMessage(1, STANDS, WEB_ISOLATED))
    assert session.commit(generation) == Ack(1, digest_of(WEB_ISOLATED))
    return session


def test_a_delta_of_what_is_in_force_leads_to_the_new_rule_set(session: Session) -> None:
    generation = session.judge(delta(1, 2, WEB_ISOLATED, WEB_CHANGED))
    assert generation.rule_set == WEB_CHANGED
    assert session.commit(generation) == Ack(2, digest_of(WEB_CHANGED))


GOOD = delta(1, 2, WEB_ISOLATED, WEB_CHANGED)


@pytest.mark.parametrize(
    ("message", "cause", "words"),
    [
        (replace(GOOD, generation=1), NackCause.INVALID, "generation: is 1, 1 was before it"),
        (replace(GOOD, base_generation=3), NackCause.BASE, "base_generation: is 3, 1 is in force"),
        (replace(GOOD, digest=5), NackCause.BASE, "digest: is not that of"),
        (replace(GOOD, delta=NOTHING), NackCause.BASE, "digest: is not that of"),
        (delta(1, 2, NOBODY_ISOLATED, WEB_ISOLATED), NackCause.BASE, "which is there already"),
        (
            replace(GOOD, stands=replace(STANDS, policies=9)),
            NackCause.OLDER,
            "stands: pods 10, namespaces 10, policies 9",
        ),
        (SnapshotMessage(2, replace(STANDS, pods=1), WEB_CHANGED), NackCause.OLDER, "is older than"),
        (
            SnapshotMessage(2, STANDS, RuleSet.of("node-2")),
            NackCause.INVALID,
            "node: the rule set is of node-2, this is node-1",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    session: Session, message: OperatorMessage, cause: NackCause, words: str
) -> None:
    with pytest.raises(NotAcceptedError) as caught:
        session.judge(message)
    assert caught.value.cause is cause
    assert words in str(caught.value.refused)
    assert session.in_force is not None
    assert session.in_force.rule_set == WEB_ISOLATED
    nack = session.nack(message.generation, caught.value.cause, caught.value.refused)
    assert nack.generation_in_force == 1


@pytest.mark.parametrize(
    ("rule_set", "told", "expected"),
    [
        pytest.param(WEB_ISOLATED, "", "", id="nothing changed"),
        pytest.param(NOBODY_ISOLATED, "", "", id="a policy went"),
        pytest.param(WEB_ISOLATED, THREE, THREE, id="the operator tells more"),
        pytest.param(WEB_CHANGED, "", TWO, id="a pod went"),
        pytest.param(WEB_SUCCEEDED, TWO, f"{ONE} {TWO}", id="another pod has its addresses"),
    ],
)
def test_a_snapshot_ends_what_the_operator_tells_and_what_the_node_itself_can_tell(
    session: Session, rule_set: RuleSet, told: str, expected: str
) -> None:
    session.begin_stream()
    generation = session.judge(SnapshotMessage(1, STANDS, rule_set, frozenset(map(ip_address, told.split()))))
    assert generation.ended == frozenset(map(ip_address, expected.split()))


def test_a_delta_ends_what_the_operator_tells(session: Session) -> None:
    ended = frozenset({ip_address("10.9.9.9")})
    assert session.judge(replace(GOOD, ended=ended)).ended == ended
    assert Session(NODE).judge(SnapshotMessage(1, STANDS, WEB_ISOLATED, ended)).ended == ended


def knowledge(session: Session) -> Knowledge:
    """As of now: a checker would take an attribute that was compared once for settled."""
    return session.knowledge


def test_knowledge_is_current_only_while_the_last_word_of_this_stream_is_in_force(session: Session) -> None:
    assert knowledge(Session(NODE)) is Knowledge.NOTHING
    assert knowledge(session) is Knowledge.CURRENT
    session.nack(2, NackCause.KERNEL, Refused("rule", "no"))
    assert knowledge(session) is Knowledge.STALE
    session.commit(session.judge(SnapshotMessage(3, STANDS, WEB_CHANGED)))
    assert knowledge(session) is Knowledge.CURRENT
    session.end_stream()
    assert knowledge(session) is Knowledge.STALE
    session.begin_stream()
    assert knowledge(session) is Knowledge.STALE


def test_adopted_pods_are_stale_knowledge() -> None:
    session = Session(NODE)
    session.found_pods()
    assert session.knowledge is Knowledge.STALE


def test_the_next_stream_hears_what_is_in_force_and_must_begin_with_a_snapshot(session: Session) -> None:
    session.end_stream()
    assert session.begin_stream() == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), STANDS))
    with pytest.raises(NotAcceptedError, match="base_generation: is 1, 0 is in force"):
        session.judge(GOOD)
    assert session.nack(2, NackCause.BASE, Refused("x", "y")) == Nack(2, NackCause.BASE, "x", "y", 0)


def test_a_lagging_replica_is_refused_until_it_catches_up(session: Session) -> None:
    session.begin_stream()
    older = SnapshotMessage(1, Stands(10, 10, 9), NOBODY_ISOLATED)
    with pytest.raises(NotAcceptedError) as caught:
        session.judge(older)
    assert caught.value.cause is NackCause.OLDER
    later = replace(older, generation=2, stands=Stands(10, 10, 11))
    assert session.commit(session.judge(later)) == Ack(2, digest_of(NOBODY_ISOLATED))


def test_a_session_that_is_resumed_says_what_it_holds_and_does_not_go_back() -> None:
    session = Session(NODE)
    session.resume(Generation(7, STANDS, digest_of(WEB_ISOLATED), WEB_ISOLATED))
    assert session.knowledge is Knowledge.STALE
    assert session.begin_stream() == Hello(NODE, InForce(7, digest_of(WEB_ISOLATED), STANDS))
    with pytest.raises(NotAcceptedError) as caught:
        session.judge(SnapshotMessage(1, Stands(10, 10, 9), NOBODY_ISOLATED))
    assert caught.value.cause is NackCause.OLDER
    # Its generations count anew, and none of them is in force yet.
    with pytest.raises(NotAcceptedError, match="base_generation: is 7, 0 is in force"):
        session.judge(replace(GOOD, base_generation=7, generation=8))
    later = SnapshotMessage(9, Stands(10, 10, 11), NOBODY_ISOLATED)
    assert session.commit(session.judge(later)) == Ack(9, digest_of(NOBODY_ISOLATED))


def test_a_session_that_knows_only_what_was_in_force_before_says_that_and_takes_a_snapshot_that_is_not_older() -> (
    None
):
    session = Session(NODE)
    session.was_in_force(Generation(7, STANDS, digest_of(WEB_ISOLATED), WEB_ISOLATED))
    assert session.in_force is None
    assert session.knowledge is Knowledge.NOTHING
    # What ended since then the operator can tell by it, though what is in force may be later.
    assert session.begin_stream() == Hello(NODE, InForce(7, digest_of(WEB_ISOLATED), STANDS))
    with pytest.raises(NotAcceptedError, match="base_generation: is 7, 0 is in force"):
        session.judge(replace(GOOD, base_generation=7, generation=8))
    with pytest.raises(NotAcceptedError, match="which was in force"):
        session.judge(SnapshotMessage(9, Stands(9, 10, 10), NOBODY_ISOLATED))
    # The operator may be another than before, and not know.
    assert session.judge(SnapshotMessage(10, STANDS, WEB_CHANGED)).ended == frozenset(
        map(ip_address, TWO.split())
    )


@pytest.mark.parametrize("kind", ["pods", "namespaces", "policies", "settings"])
def test_a_state_that_does_not_say_how_late_it_is_makes_a_node_forget_nothing(kind: str) -> None:
    stands = Stands(100, 100, 100, 100)
    session = Session(NODE)
    session.begin_stream()
    session.commit(session.judge(SnapshotMessage(1, stands, WEB_ISOLATED)))
    untold = replace(stands, **{kind: 0})
    session.commit(session.judge(SnapshotMessage(2, untold, WEB_CHANGED)))
    assert session.in_force is not None
    assert session.in_force.stands == stands
    assert session.begin_stream() == Hello(NODE, InForce(2, digest_of(WEB_CHANGED), stands))
    with pytest.raises(NotAcceptedError) as caught:
        session.judge(SnapshotMessage(1, replace(stands, **{kind: 50}), NOBODY_ISOLATED))
    assert caught.value.cause is NackCause.OLDER
    session.commit(session.judge(SnapshotMessage(2, replace(stands, **{kind: 150}), NOBODY_ISOLATED)))
    assert session.in_force.stands == replace(stands, **{kind: 150})
