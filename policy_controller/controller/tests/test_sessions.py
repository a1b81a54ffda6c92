"""The session machine: tables of what is said next, and a node that misbehaves at random and still converges."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compilers.model.words import Address
from compilers.ruleset.delta import NOTHING, apply
from compilers.ruleset.digest import digest_of
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import PeerSet
from compilers.ruleset.rule_set import RuleSet
from compilers.ruleset.tests.rule_sets import ADDRESSES, rule_sets
from policy_controller.controller.sessions import (
    ACK_SECONDS,
    CHANGED_OFTEN_SECONDS,
    CHANGED_SECONDS,
    OFTEN,
    RETRY_SECONDS,
    Desired,
    Session,
    UnexpectedReply,
)
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Nack,
    NackCause,
    OperatorMessage,
    SnapshotMessage,
    Stands,
)


def desired(number: int, pods: int = 1) -> Desired:
    """A state that differs from that of every other number."""
    name = content_name(NameKind.PEER_SET, (str(number),))
    return Desired.of(RuleSet.of("node-a", peer_sets=[PeerSet(name)]), Stands(pods, 1, 1), number)


def nack(generation: int, cause: NackCause = NackCause.KERNEL) -> Nack:
    return Nack(generation, cause, "table", "Device or resource busy", 0)


@dataclass
class Script:
    """A session and the node at its other end."""

    session: Session = field(default_factory=lambda: Session("node-a"))
    said: list[OperatorMessage] = field(default_factory=list)

    def ask(self, now: float = 0.0) -> OperatorMessage | None:
        message = self.session.next(now)
        if message is not None:
            self.said.append(message)
        return message

    def ack(self, state: Desired, now: float = 0.0) -> None:
        self.session.acked(Ack(self.said[-1].generation, state.digest), now)


def test_nothing_is_said_before_something_is_desired() -> None:
    script = Script()
    assert script.ask() is None
    assert script.session.wakes_at() is None


def test_first_comes_a_snapshot_then_deltas_on_what_was_acknowledged() -> None:
    script, first, second = Script(), desired(1), desired(2)

    script.session.desire(first)
    assert script.ask() == SnapshotMessage(1, first.stands, first.rule_set)
    script.ack(first)
    script.session.desire(second)
    delta = script.ask()

    assert isinstance(delta, DeltaMessage)
    assert (delta.base_generation, delta.generation, delta.digest) == (1, 2, second.digest)
    assert apply(delta.delta, first.rule_set) == second.rule_set


def test_states_desired_while_a_message_is_unanswered_become_one_delta() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()

    for number in range(2, 10):
        script.session.desire(desired(number))
        assert script.ask() is None
    script.ack(desired(1))
    delta = script.ask()

    assert isinstance(delta, DeltaMessage)
    assert delta.generation == 2
    assert delta.digest == desired(9).digest


FIRST, SECOND = ADDRESSES[:2]


def test_an_address_that_ended_is_said_with_the_state_that_ended_it_also_when_nothing_else_changes() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()
    script.ack(desired(1))

    script.session.note_ended(frozenset({FIRST}))
    assert script.ask() is None
    script.session.desire(desired(1, pods=2))
    message = script.ask()

    assert isinstance(message, DeltaMessage)
    assert message.ended == {FIRST}
    assert message.delta == NOTHING
    script.ack(desired(1))
    assert script.ask() is None


def test_addresses_that_ended_in_states_never_sent_or_refused_are_said_with_the_next() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()
    for number, address in enumerate((FIRST, SECOND), start=2):
        script.session.note_ended(frozenset({address}))
        script.session.desire(desired(number))
    script.ack(desired(1))
    assert [message.ended for message in (script.ask(), script.said[0]) if message] == [
        {FIRST, SECOND},
        set(),
    ]

    script.session.nacked(nack(2), 0.0)

    again = script.ask()
    assert isinstance(again, SnapshotMessage)
    assert again.ended == {FIRST, SECOND}


def test_addresses_that_ended_with_what_is_in_force_but_for_single_objects_are_not_ended_again() -> None:
    """The next owner of an address has connections by then."""
    script = Script()
    script.session.note_ended(frozenset({FIRST}))
    script.session.desire(desired(1))
    assert script.ask() is not None
    script.session.nacked(Nack(1, NackCause.KERNEL, "an object", "it is so", generation_in_force=1), 0.0)
    script.session.desire(desired(2))
    again = script.session.next(CHANGED_SECONDS)
    assert isinstance(again, SnapshotMessage)
    assert not again.ended


@pytest.mark.parametrize(
    "again", [desired(1), desired(1, pods=7)], ids=["the same", "the same at a later version"]
)
def test_an_unchanged_rule_set_sends_nothing(again: Desired) -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()
    script.ack(desired(1))

    script.session.desire(again)

    assert script.ask() is None
    assert script.session.status().current


def test_a_refused_delta_is_followed_by_a_snapshot_at_once_but_only_once() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()
    script.ack(desired(1))
    script.session.desire(desired(2))
    script.ask(10.0)

    script.session.nacked(nack(2), 10.0)
    assert isinstance(script.ask(10.0), SnapshotMessage)
    script.session.nacked(nack(3), 10.0)

    assert script.ask(10.0) is None
    assert script.session.wakes_at() == 10.0 + RETRY_SECONDS[0]


def test_pauses_between_refused_snapshots_grow_to_a_minute() -> None:
    script, now, pauses = Script(), 0.0, []
    script.session.desire(desired(1))
    for _ in range(8):
        message = script.ask(now)
        assert isinstance(message, SnapshotMessage)
        script.session.nacked(nack(message.generation, NackCause.INVALID), now)
        wakes_at = script.session.wakes_at()
        assert wakes_at is not None
        assert script.ask(wakes_at - 0.01) is None
        pauses.append(wakes_at - now)
        now = wakes_at
    assert pauses == [*RETRY_SECONDS, RETRY_SECONDS[-1], RETRY_SECONDS[-1]]
    assert script.session.status().nacks == 8


@pytest.mark.parametrize("later", [desired(2), desired(1, pods=9)], ids=["another state", "a later version"])
def test_another_desire_shortens_the_pause_after_a_refusal(later: Desired) -> None:
    script = Script()
    script.session.desire(desired(1))
    for now in (0.0, 5.0, 20.0):
        message = script.ask(now)
        assert message is not None
        script.session.nacked(nack(message.generation, NackCause.OLDER), now)

    script.session.desire(later)

    assert script.session.wakes_at() == 20.0 + CHANGED_SECONDS
    assert script.ask(20.0 + CHANGED_SECONDS) == SnapshotMessage(4, later.stands, later.rule_set)


@pytest.mark.parametrize("when", ["in flight", "after"])
@pytest.mark.parametrize("cause", [NackCause.KERNEL, NackCause.INVALID, NackCause.BASE])
def test_events_that_change_no_rule_of_a_node_do_not_bring_a_refused_snapshot_again(
    cause: NackCause, when: str
) -> None:
    script = Script()
    script.session.desire(desired(1))
    for now in (0.0, 5.0, 20.0):
        message = script.ask(now)
        assert message is not None
        if when == "in flight":
            script.session.desire(desired(1, pods=int(now) + 2))
        script.session.nacked(nack(message.generation, cause), now)
    if when == "after":
        script.session.desire(desired(1, pods=99))

    assert script.session.wakes_at() == 20.0 + RETRY_SECONDS[2]


@pytest.mark.parametrize("cause", [NackCause.KERNEL, NackCause.INVALID, NackCause.BASE])
def test_what_changes_at_a_node_that_refuses_often_reaches_it_a_little_less_soon(cause: NackCause) -> None:
    script, now = Script(), 0.0
    for number in range(1, 9):
        script.session.desire(desired(number))
        message = script.ask(now)
        assert message is not None
        script.session.nacked(nack(message.generation, cause), now)
        script.session.desire(desired(number + 1))
        wakes_at = script.session.wakes_at()
        assert wakes_at == now + (CHANGED_SECONDS if number < OFTEN else CHANGED_OFTEN_SECONDS)
        now = wakes_at


def test_a_wrong_digest_counts_as_a_refusal_and_the_base_is_not_built_upon() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()

    script.session.acked(Ack(1, desired(1).digest + 1), 0.0)

    status = script.session.status()
    assert (status.acked, status.nacks, status.current) == (0, 1, False)
    assert isinstance(script.ask(RETRY_SECONDS[0]), SnapshotMessage)


@pytest.mark.parametrize("generation", [0, 1, 3])
def test_an_answer_to_what_was_not_asked_is_an_error(generation: int) -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask()
    script.ack(desired(1))
    script.session.desire(desired(2))
    script.ask()

    with pytest.raises(UnexpectedReply):
        script.session.acked(Ack(generation, desired(2).digest), 0.0)
    with pytest.raises(UnexpectedReply):
        script.session.nacked(nack(generation), 0.0)


def test_a_node_that_does_not_answer_is_overdue_after_the_stated_time() -> None:
    script = Script()
    script.session.desire(desired(1))
    script.ask(100.0)
    assert script.session.wakes_at() == 100.0 + ACK_SECONDS
    assert not script.session.overdue(100.0 + ACK_SECONDS - 0.1)
    assert script.session.overdue(100.0 + ACK_SECONDS)


class NodeThatMisbehaves(RuleBasedStateMachine):
    """Whatever a node accepts and refuses: generations count up by one, it ends with what is desired, and it is told
    of every address that ended until it has acknowledged it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.session = Session("node-a")
        self.now = 0.0
        self.wanted: Desired | None = None
        self.in_force: RuleSet | None = None
        self.in_flight: OperatorMessage | None = None
        self.generation = 0
        self.refused_at: float | None = None
        self.noted: set[Address] = set()
        """Ended in a state that is not desired yet."""
        self.desires = self.said = 0
        """How many states were desired, in all and when the message in flight was said."""
        self.owed: dict[Address, int] = {}
        """Addresses whose end the node has not acknowledged, and the number of the state that last ended each."""

    @rule(addresses=st.frozensets(st.sampled_from(ADDRESSES), max_size=3))
    def note_ended(self, addresses: frozenset[Address]) -> None:
        self.noted |= addresses
        self.session.note_ended(addresses)

    @rule(rule_set=rule_sets(), pods=st.integers(1, 5))
    def desire(self, rule_set: RuleSet, pods: int) -> None:
        self.wanted = Desired.of(rule_set, Stands(pods), self.desires)
        self.desires += 1
        self.owed |= dict.fromkeys(self.noted, self.desires)
        self.noted.clear()
        self.session.desire(self.wanted)

    @rule()
    def ask(self) -> None:
        message = self.session.next(self.now)
        if message is None:
            return
        assert self.in_flight is None, "one message at a time"
        assert message.generation == self.generation + 1
        assert message.ended == self.owed.keys(), "all that is owed, and nothing before its state is desired"
        self.generation, self.in_flight, self.said = message.generation, message, self.desires

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def accept(self) -> None:
        assert self.in_flight is not None
        match self.in_flight:
            case SnapshotMessage(rule_set=rule_set):
                self.in_force = rule_set
            case DeltaMessage(delta=delta, digest=digest):
                assert self.in_force is not None
                self.in_force = apply(delta, self.in_force)
                assert digest_of(self.in_force) == digest
        self.session.acked(Ack(self.in_flight.generation, digest_of(self.in_force)), self.now)
        self.owed = {address: number for address, number in self.owed.items() if number > self.said}
        self.in_flight = None

    @precondition(lambda self: self.in_flight is not None)
    @rule(cause=st.sampled_from(NackCause))
    def refuse(self, cause: NackCause) -> None:
        assert self.in_flight is not None
        was_snapshot = isinstance(self.in_flight, SnapshotMessage)
        self.session.nacked(nack(self.in_flight.generation, cause), self.now)
        self.in_flight = None
        if was_snapshot:
            assert self.session.next(self.now) is None, "a refused snapshot is not repeated at once"

    @invariant()
    def current_means_that_the_desired_state_is_in_force(self) -> None:
        if self.session.status().current:
            assert self.wanted is not None
            assert self.in_force == self.wanted.rule_set

    def teardown(self) -> None:
        for _ in range(3):
            if self.in_flight is not None:
                self.accept()
            self.now += RETRY_SECONDS[-1]
            self.ask()
        assert self.wanted is None or self.in_force == self.wanted.rule_set
        assert self.owed == {}
        assert self.session.next(self.now) is None


NodeThatMisbehaves.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestNodeThatMisbehaves = NodeThatMisbehaves.TestCase
