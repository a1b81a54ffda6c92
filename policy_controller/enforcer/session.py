"""What the operator has said, what of it is in force, and what is answered.

Knows generations, what they stand for, and digests. Pure: no I/O and no clock; whether the kernel took a generation is
told to it. Outlives streams, and is told what was in force before it, so that neither a reconnect nor a restart leads
back to older policy.
"""

from dataclasses import dataclass, replace

from compilers.model.faults import InvalidField
from compilers.model.words import Address
from compilers.ruleset.delta import apply
from compilers.ruleset.digest import digest_of
from compilers.ruleset.owners import ended_between
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.shortfall import Shortfall
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.limits import LIMITS, check_rule_set
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


@dataclass(frozen=True, slots=True)
class Generation:
    """A whole state, as a stream brought it; the digest is of its rule set.

    `ended`: addresses that are no longer those of the pods they belonged to in the state before; of one that is saved, those
    whose connections must still end.
    """

    number: int
    stands: Stands
    digest: int
    rule_set: RuleSet
    ended: frozenset[Address] = frozenset()


class NotAcceptedError(Exception):
    """A message that is legal by itself does not fit what is in force here."""

    def __init__(self, cause: NackCause, object_: str, reason: str) -> None:
        super().__init__(f"{object_}: {reason}")
        self.cause = cause
        self.refused = Refused(object_, reason)


def generation_of(message: pb.OperatorMessage) -> int:
    """The generation that a message is about, whatever else may be wrong with it; 0 when it names none."""
    match message.WhichOneof("kind"):
        case "snapshot":
            return message.snapshot.generation
        case "delta":
            return message.delta.generation
        case _:
            return 0


class Session:
    """One node's side of the conversation, over all its streams."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._in_force: Generation | None = None
        self._latest: Generation | None = None
        """The latest of which is known that it was in force here. It stands for the latest of all that ever was."""
        self._found_pods = False
        self._received = 0
        self._applied = 0
        self._refused: Nack | None = None

    @property
    def in_force(self) -> Generation | None:
        """What an operator said and the kernel has committed, now or before this enforcer; None when nobody knows."""
        return self._in_force

    @property
    def refused(self) -> Nack | None:
        """Why the last word of this stream is not in force; None when it is, or when none has been said."""
        return self._refused

    @property
    def knowledge(self) -> Knowledge:
        """How much is known of the pods that are bound to the node now."""
        if self._applied and (self._refused is None or self._refused.is_of_single_objects):
            return Knowledge.CURRENT
        if self._in_force is None and not self._found_pods:
            return Knowledge.NOTHING
        return Knowledge.STALE

    def found_pods(self) -> None:
        """An earlier enforcer's tables were adopted, and they hold pods."""
        self._found_pods = True

    def was_in_force(self, saved: Generation) -> None:
        """What was in force here before this enforcer, and what is now may be later: nothing older may be."""
        self._latest = saved

    def resume(self, saved: Generation) -> None:
        """The kernel holds what was in force before this enforcer, as it was saved."""
        self._in_force = self._latest = saved

    def begin_stream(self) -> Hello:
        """A stream begins: its generations count from 1. What this end says first."""
        self.end_stream()
        # Also where what is in force is later still: the operator tells what has ended since.
        held = self._latest
        in_force = InForce(held.number, held.digest, held.stands) if held is not None else None
        return Hello(self._node, in_force)

    def end_stream(self) -> None:
        """The stream is gone: what is in force is no longer known to be the last word."""
        self._received = self._applied = 0
        self._refused = None

    def judge(self, message: OperatorMessage) -> Generation:
        """The state that a legal message leads to; raises NotAcceptedError when it must not be put in force."""
        if message.generation <= self._received:
            raise NotAcceptedError(
                NackCause.INVALID, "generation", f"is {message.generation}, {self._received} was before it"
            )
        self._received = message.generation
        if message.stands.is_behind(self._stood):
            raise NotAcceptedError(
                NackCause.OLDER,
                "stands",
                f"{_text(message.stands)} is older than {_text(self._stood)}, which was in force",
            )
        if isinstance(message, SnapshotMessage):
            return self._of_snapshot(message)
        return self._of_delta(message)

    def commit(self, generation: Generation) -> Ack:
        """The kernel has committed what `judge` returned."""
        generation = replace(generation, stands=generation.stands.after(self._stood))
        self._in_force = self._latest = generation
        self._applied, self._refused = generation.number, None
        return Ack(generation.number, generation.digest)

    def commit_but_for(self, generation: Generation, held: Shortfall) -> Nack:
        """The kernel has committed what `judge` returned, but for single objects: no delta can be based on that."""
        self.commit(replace(generation, rule_set=held.rule_set, digest=digest_of(held.rule_set)))
        first, *others = held.refused
        more = f" ({len(others)} objects more)" if others else ""
        return self.nack(generation.number, NackCause.KERNEL, Refused(first.object, first.reason + more))

    def nack(self, generation: int, cause: NackCause, refused: Refused) -> Nack:
        """A generation is not, or not whole, in force: that is not the operator's last word. What is answered."""
        self._refused = Nack(generation, cause, refused.object, refused.reason, self._applied)
        return self._refused

    @property
    def _stood(self) -> Stands:
        """What the latest known of all that was ever in force here stands for."""
        return Stands() if self._latest is None else self._latest.stands

    def _of_snapshot(self, message: SnapshotMessage) -> Generation:
        if message.rule_set.node != self._node:
            raise NotAcceptedError(
                NackCause.INVALID, "node", f"the rule set is of {message.rule_set.node}, this is {self._node}"
            )
        ended = message.ended
        if self._latest is not None:
            # The operator may be another than before: what the node itself can tell, it adds.
            ended |= ended_between(self._latest.rule_set, message.rule_set)
        digest = digest_of(message.rule_set)
        return Generation(message.generation, message.stands, digest, message.rule_set, ended)

    def _of_delta(self, message: DeltaMessage) -> Generation:
        if self._in_force is None or message.base_generation != self._applied:
            raise NotAcceptedError(
                NackCause.BASE,
                "base_generation",
                f"is {message.base_generation}, {self._applied} is in force",
            )
        try:
            rule_set = apply(message.delta, self._in_force.rule_set)
        except InvalidField as fault:
            raise NotAcceptedError(NackCause.BASE, "delta", str(fault)) from fault
        try:
            check_rule_set(rule_set, LIMITS)
        except InvalidField as fault:
            raise NotAcceptedError(NackCause.INVALID, "delta", str(fault)) from fault
        digest = digest_of(rule_set)
        if digest != message.digest:
            raise NotAcceptedError(NackCause.BASE, "digest", "is not that of the rule set after the delta")
        return Generation(message.generation, message.stands, digest, rule_set, message.ended)


def _text(stands: Stands) -> str:
    kinds = (f"pods {stands.pods}", f"namespaces {stands.namespaces}", f"policies {stands.policies}")
    return ", ".join((*kinds, f"settings {stands.settings}"))
