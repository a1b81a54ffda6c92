"""What is wrong with which policies, in sentences for their authors, and with what namespaces choose.

Knows faults that the parser found, and those of the compiler for want of room. Knows nothing of Events or HTTP.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from compilers.model.cluster import Namespace
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy
from policy_controller.controller.store import Store
from policy_controller.controller.trouble import Trouble

LONGEST_MESSAGE: Final = 1024
"""Characters; core/v1 Event: messages are for people, and the API server refuses much longer ones."""


MOST_TOLD: Final = 5
"""Faults of namespaces in one sentence."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A policy, what is wrong with it, and what is closed until that is mended."""

    policy: NetworkPolicy
    faults: tuple[Fault, ...]
    consequence: str

    @property
    def closes(self) -> bool:
        """Whether it keeps pods closed, by what is wrong with the policy itself."""
        return any(side.faults for side in self.policy.sides.values())

    @property
    def signature(self) -> str:
        """What is wrong with which policy, in 16 hexadecimal digits."""
        told = "\0".join([self.policy.uid, *map(str, self.faults)])
        return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @property
    def message(self) -> str:
        """All of it in at most LONGEST_MESSAGE characters."""
        return message_of(self.faults, self.consequence)


def complaints(store: Store, without_room: Iterable[Fault]) -> tuple[Complaint, ...]:
    """Of every policy with faults, sorted; `without_room` are those of the compiler, which say what is closed."""
    beyond: dict[ObjectRef, list[Fault]] = {}
    for fault in without_room:
        beyond.setdefault(fault.object, []).append(fault)
    policies = {policy.ref: policy for policy in invalid_policies(store)}
    if beyond:
        policies |= store.policies(beyond)
    return tuple(
        Complaint(
            policy,
            (*policy.faults, *sorted(beyond.get(ref, ()))),
            consequence_of(policy) if policy.faults else "",
        )
        for ref, policy in sorted(policies.items())
    )


def invalid_policies(store: Store) -> tuple[NetworkPolicy, ...]:
    """Policies with faults, sorted."""
    values = (seen.value for _, seen in sorted(store.faulty.items()) if seen.faults)
    return tuple(value for value in values if isinstance(value, NetworkPolicy))


def unread_choices(store: Store) -> tuple[Trouble, ...]:
    """One trouble for all namespaces of which something cannot be read, with the faults of the first few; none without any."""
    faults = [
        fault
        for _, seen in sorted(store.faulty.items())
        if isinstance(seen.value, Namespace)
        for fault in seen.faults
    ]
    if not faults:
        return ()
    more = f"; and {len(faults) - MOST_TOLD} more" if len(faults) > MOST_TOLD else ""
    told = "; ".join(map(str, faults[:MOST_TOLD]))
    return (Trouble("What namespaces choose cannot be read everywhere:", f"{told}{more}"),)


def consequence_of(policy: NetworkPolicy) -> str:
    """A sentence that says what is closed until the policy is mended; empty when nothing is."""
    closed = [
        direction
        for direction, side in sorted(policy.sides.items(), key=lambda item: item[0].field)
        if side.faults
    ]
    if not closed:
        return "It is enforced nevertheless."
    whom = "every pod of the namespace" if policy.subject is None else "the pods it selects"
    directions = " and ".join(direction.field for direction in closed)
    return f"Until it is mended it admits no {directions} of {whom}."


def message_of(faults: Sequence[Fault], consequence: str) -> str:
    """Field, reason and consequence; of many faults as many as there is room for."""
    texts = [f"{fault.where}: {fault.reason}" if fault.where else fault.reason for fault in faults]
    for shown in range(len(texts), 0, -1):
        more = f"; and {len(texts) - shown} more" if shown < len(texts) else ""
        message = f"{'; '.join(texts[:shown])}{more}. {consequence}".rstrip()
        if len(message) <= LONGEST_MESSAGE:
            return message
    room = LONGEST_MESSAGE - len(consequence) - 5
    return f"{texts[0][:room]}... {consequence}"
