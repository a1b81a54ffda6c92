"""What to say next on one node's stream: a state machine. No I/O, no clock of its own, no protobuf.

    desire ──▶ next ──▶ (in flight) ──ack──▶ base = what was sent ──▶ next is a delta, if anything is desired
                              └──────nack──▶ base unknown ──▶ next is a snapshot, after a pause

One message is in flight at a time; states desired meanwhile replace each other. Addresses that ended do not: they are
said with the next state, and again until a message that says them is acknowledged. Times are seconds that callers pass
in.
"""

from dataclasses import dataclass, field
from typing import Final

from compilers.model.settings import Enforcement
from compilers.model.words import Address
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Nack,
    NackCause,
    OperatorMessage,
    SnapshotMessage,
    Stands,
)

ACK_SECONDS: Final = 60.0
"""How long a message may wait for its ack or nack; then the node is taken for dead and its stream is closed."""
RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Pauses before a snapshot that follows a refused snapshot; the last is repeated."""
CHANGED_SECONDS: Final = 1.0
"""The pause instead, once something else is desired than what was refused."""
CHANGED_OFTEN_SECONDS: Final = 5.0
"""The same after OFTEN refused snapshots in a row: most likely what changes is not what is refused, and a snapshot is all of
a node's rule set. Not longer, for a kernel that refuses one object enforces whatever else is said."""
OFTEN: Final = 3

MOST_ENDED: Final = 65_536
"""Addresses that ended and are still to be said; of more, those that ended first are not. A node that takes nothing for so
long that there are so many is told of by then."""


class UnexpectedReply(Exception):  # noqa: N818 - named for what it says
    """A node answers what it was not sent: its stream cannot be trusted any further."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The rule set a node should have, what it stands for, and its digest."""

    rule_set: RuleSet
    stands: Stands
    digest: int
    revision: int = field(compare=False)
    """Of the store's state that it was compiled from; no node is told."""

    @classmethod
    def of(cls, rule_set: RuleSet, stands: Stands, revision: int) -> "Desired":
        """Computes the digest, which takes time in proportion to the rule set."""
        return cls(rule_set, stands, digest_of(rule_set), revision)


@dataclass(frozen=True, slots=True)
class _Flight:
    message: OperatorMessage
    desired: Desired
    since: float


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """What is known of a node's stream; generation 0 is none yet."""

    node: str
    sent: int
    acked: int
    current: bool
    """Whether what is in force on the node is what is desired."""
    nacks: int
    last_nack: Nack | None
    desired: Desired | None
    """None: nothing has been compiled for it yet."""
    in_force: Desired | None
    """The latest state that what is in force agrees with; None: that is not known."""
    enforcement: Enforcement | None = None
    """What the node has said that it has in force, be it without single objects; None: that is not known."""

    @property
    def revision(self) -> int:
        """The latest revision of the store that what is in force agrees with; -1 is unknown."""
        return -1 if self.in_force is None else self.in_force.revision


class Session:
    """One stream to one node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._generation = 0
        self._acked = 0
        self._base: Desired | None = None
        self._enforcement: Enforcement | None = None
        self._flight: _Flight | None = None
        self._desired: Desired | None = None
        self._noted: frozenset[Address] = frozenset()
        """Ended in a state that has not been desired yet."""
        self._ended: frozenset[Address] = frozenset()
        """Ended by the desired state, and not in flight."""
        self._snapshots_refused = 0
        self._refused_at = 0.0
        self._not_before = 0.0
        self._nacks = 0
        self._last_nack: Nack | None = None
        self.ended_forgotten = 0
        """Addresses that ended and will not be said."""

    def note_ended(self, addresses: frozenset[Address]) -> None:
        """Addresses have ceased to be those of their pods, in the state that will be desired next.

        They are not said before: under the older state the node would let new connections of theirs begin.
        """
        self._noted |= addresses
        if (before := len(self._ended | self._noted)) > MOST_ENDED:
            # What this end says last is also what the node can least tell by itself.
            self._ended = frozenset()
            self._noted = addresses
            self.ended_forgotten += before - len(addresses)

    def desire(self, desired: Desired) -> None:
        """The state the node should have from now on."""
        if self._snapshots_refused and (self._desired is None or self._differs(desired, self._desired)):
            self._not_before = min(self._not_before, self._refused_at + self._changed_seconds())
        self._desired = desired
        self._agree()
        self._ended, self._noted = self._ended | self._noted, frozenset()

    def next(self, now: float) -> OperatorMessage | None:
        """The message to send now, which then is in flight; None when there is nothing to say or not yet."""
        if not self._has_more() or now < self._not_before or self._desired is None:
            return None
        self._generation += 1
        message: OperatorMessage
        if self._base is None:
            message = SnapshotMessage(
                self._generation, self._desired.stands, self._desired.rule_set, self._ended
            )
        else:
            message = DeltaMessage(
                base_generation=self._acked,
                generation=self._generation,
                stands=self._desired.stands,
                digest=self._desired.digest,
                delta=difference(self._base.rule_set, self._desired.rule_set),
                ended=self._ended,
            )
        self._ended = frozenset()
        self._flight = _Flight(message, self._desired, now)
        return message

    def acked(self, ack: Ack, now: float) -> None:
        """The node has committed what is in flight; raises UnexpectedReply for any other generation."""
        flight = self._answered(ack.generation)
        if ack.digest != flight.desired.digest:
            reason = "the acknowledged digest is not that of what was sent"
            self._refused(flight, Nack(ack.generation, NackCause.BASE, "digest", reason, 0), now)
            return
        self._base = flight.desired
        self._enforcement = flight.desired.rule_set.enforcement
        self._agree()
        self._acked = ack.generation
        self._snapshots_refused = 0

    def nacked(self, nack: Nack, now: float) -> None:
        """The node refused what is in flight; raises UnexpectedReply for any other generation."""
        self._refused(self._answered(nack.generation), nack, now)

    def wakes_at(self) -> float | None:
        """When to ask `next` or `overdue` again, if nothing else happens; None is never."""
        if self._flight is not None:
            return self._flight.since + ACK_SECONDS
        return self._not_before if self._has_more() else None

    def overdue(self, now: float) -> bool:
        """Whether the node has not answered for longer than ACK_SECONDS."""
        return self._flight is not None and now - self._flight.since >= ACK_SECONDS

    def status(self) -> SessionStatus:
        """What is known of the stream."""
        return SessionStatus(
            node=self.node,
            sent=self._generation,
            acked=self._acked,
            current=self._base is not None and self._flight is None and not self._has_more(),
            nacks=self._nacks,
            last_nack=self._last_nack,
            desired=self._desired,
            in_force=self._base,
            enforcement=self._enforcement,
        )

    def _agree(self) -> None:
        """Where what is desired says the same as what is in force, that stands for the later state from now on."""
        base, desired = self._base, self._desired
        if (
            base is not None
            and desired is not None
            and self._flight is None
            and base.rule_set == desired.rule_set
        ):
            self._base = desired

    def _has_more(self) -> bool:
        if self._flight is not None or self._desired is None:
            return False
        return self._base is None or bool(self._ended) or self._base.rule_set != self._desired.rule_set

    def _answered(self, generation: int) -> _Flight:
        flight = self._flight
        if flight is None or flight.message.generation != generation:
            raise UnexpectedReply(f"generation {generation} is not waiting for an answer")
        self._flight = None
        return flight

    def _refused(self, flight: _Flight, nack: Nack, now: float) -> None:
        self._nacks += 1
        self._last_nack = nack
        self._base = None
        self._enforcement = flight.desired.rule_set.enforcement if nack.is_of_single_objects else None
        if not nack.is_of_single_objects:
            self._ended |= flight.message.ended
        self._refused_at = now
        if isinstance(flight.message, DeltaMessage):
            # A snapshot needs no base, so it may do where the delta did not: at once, but only once.
            self._not_before = now
            return
        pause = RETRY_SECONDS[min(self._snapshots_refused, len(RETRY_SECONDS) - 1)]
        self._snapshots_refused += 1
        self._not_before = now + pause
        if self._desired is not None and self._differs(self._desired, flight.desired):
            self._not_before = now + min(pause, self._changed_seconds())

    def _differs(self, later: Desired, refused: Desired) -> bool:
        """Whether a node may take one though it refused the other."""
        # Every event of a pod anywhere raises what a state stands for. Only who knows of a later one minds.
        return later.rule_set != refused.rule_set or (self._was_older and later.stands != refused.stands)

    def _changed_seconds(self) -> float:
        often = self._snapshots_refused >= OFTEN and not self._was_older
        return CHANGED_OFTEN_SECONDS if often else CHANGED_SECONDS

    @property
    def _was_older(self) -> bool:
        return self._last_nack is not None and self._last_nack.cause is NackCause.OLDER
