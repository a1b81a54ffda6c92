"""What the two ends say, as values: hello, ack and nack from the node; snapshot and delta from the operator.

Knows the content of each message. Knows nothing of bytes (convert.py) or of when to say what (the sessions do).
"""

import enum
from dataclasses import dataclass, field, replace
from typing import Final

from compilers.model.words import Address
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import Delta
from compilers.ruleset.rule_set import RuleSet

PROTOCOL_VERSION: Final = 1
MOST_TIMES: Final = (1 << 32) - 1
"""The largest count that the wire holds."""


@dataclass(frozen=True, slots=True)
class Stands:
    """The highest resourceVersion of each kind that a state stands for; 0 is unknown.

    `settings`: of the ConfigMap that holds the settings of the whole cluster.
    """

    pods: int = 0
    namespaces: int = 0
    policies: int = 0
    settings: int = 0

    def is_behind(self, other: "Stands") -> bool:
        """Whether some kind is known on both sides and older here: such a state must not replace the other."""
        pairs = (
            (self.pods, other.pods),
            (self.namespaces, other.namespaces),
            (self.policies, other.policies),
            (self.settings, other.settings),
        )
        return any(0 < mine < theirs for mine, theirs in pairs)

    def after(self, before: "Stands") -> "Stands":
        """The later of both, kind by kind: a state that does not say how late it is makes nobody forget the one before."""
        return Stands(
            pods=max(self.pods, before.pods),
            namespaces=max(self.namespaces, before.namespaces),
            policies=max(self.policies, before.policies),
            settings=max(self.settings, before.settings),
        )


@dataclass(frozen=True, slots=True)
class InForce:
    """The latest of which a node knows that it was in force there; what is in force may be later still.

    The generation is of the stream that brought it, perhaps to an earlier enforcer. `stands`: the latest of all that was in
    force until then.
    """

    generation: int
    digest: int
    stands: Stands


@dataclass(frozen=True, slots=True)
class Hello:
    """A node introduces itself. `in_force` None: it knows of nothing that ever was in force there."""

    node: str
    in_force: InForce | None = None
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """The kernel has committed the generation; the digest is of everything now in force."""

    generation: int
    digest: int


class NackCause(enum.Enum):
    """Why a generation is not in force, as far as the operator can act on it."""

    INVALID = "invalid"
    """The message is not legal; the same one would be refused again."""
    OLDER = "older"
    """It stands for something older than what is in force; a later snapshot will do."""
    BASE = "base"
    """The delta is not based on what is in force, or does not lead to its digest; a snapshot will do."""
    KERNEL = "kernel"
    """The kernel refused; a snapshot may do."""


@dataclass(frozen=True, slots=True)
class Nack:
    """Nothing of the generation is in force; `generation_in_force` is (0: none of this stream).

    Where that is the same one, it is in force but for single objects that the kernel refused, `object` among them: the gates
    that need them are closed.
    """

    generation: int
    cause: NackCause
    object: str
    reason: str
    generation_in_force: int

    @property
    def is_of_single_objects(self) -> bool:
        """Whether everything else of the generation is in force."""
        return self.cause is NackCause.KERNEL and 0 < self.generation == self.generation_in_force


@dataclass(frozen=True, slots=True)
class FreshToken:
    """A token that the node's enforcer was given after the one that the stream began with. It is never printed."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tampered:
    """A process changed the node's tables `times` times since this was last said of it, and it was mended.

    `process` and `number` are the kernel's words for the thread; 0 where nobody was told of. `at` is when that was last,
    in seconds since 1970 by the node's clock.
    """

    process: str
    number: int
    tables: tuple[TableFamily, ...]
    times: int
    at: int

    def after(self, before: "Tampered | None") -> "Tampered":
        """One for both, where the same was said of the process before and nobody has been told yet."""
        if before is None:
            return self
        tables = {*before.tables, *self.tables}
        return replace(
            self,
            tables=tuple(family for family in TableFamily if family in tables),
            times=min(before.times + self.times, MOST_TIMES),
        )


@dataclass(frozen=True, slots=True)
class SnapshotMessage:
    """Everything a node enforces. The digest is computed from the rule set, here and again by the receiver.

    `ended` as in DeltaMessage, as far as the operator knows.
    """

    generation: int
    stands: Stands
    rule_set: RuleSet
    ended: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class DeltaMessage:
    """What turns the state of `base_generation` into that of `generation`; the digest is of the latter, whole.

    `ended`: addresses that have ceased to be those of the pods they belonged to; their connections end.
    """

    base_generation: int
    generation: int
    stands: Stands
    digest: int
    delta: Delta
    ended: frozenset[Address] = frozenset()


NodeMessage = Hello | Ack | Nack | FreshToken | Tampered
OperatorMessage = SnapshotMessage | DeltaMessage
