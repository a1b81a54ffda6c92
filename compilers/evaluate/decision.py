"""Decisions: a verdict, the two gates it comes from, and every rule that was tried on the way.

Knows how the parts of a decision hang together. Knows nothing of how it was reached or how it is printed.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compilers.evaluate.ends import PodEnd
from compilers.evaluate.misses import Miss, NoRule, Unreadable
from compilers.evaluate.traffic import Traffic
from compilers.model.faults import ObjectRef, Position
from compilers.model.words import Direction


class Verdict(enum.Enum):
    """What becomes of the connection."""

    ALLOWED = "allowed"
    DENIED = "denied"


class Outcome(enum.Enum):
    """Why a gate lets the connection pass, or that it does not."""

    NOT_A_POD = "there is no pod with a network of its own at this end"
    OFF = "enforcement is off in the whole cluster"
    SELF = "a pod may always reach itself"
    OWN_NODE = "a pod can always be reached from its own node"
    OPERATOR = "it is the operator's own pod, which no policy can isolate"
    NOT_ISOLATED = "no policy isolates it"
    ADMITTED = "a rule admits it"
    NOT_ADMITTED = "no rule admits it"


@dataclass(frozen=True, slots=True, order=True)
class RuleRef:
    """One rule of a policy; `index` counts from 0 among the rules of its direction."""

    namespace: str
    policy: str
    direction_name: str
    index: int

    @classmethod
    def of(cls, policy: ObjectRef, direction: Direction, index: int) -> "RuleRef":
        """The rule of `policy` at `index` of this direction."""
        return cls(policy.namespace, policy.name, direction.value, index)

    @property
    def direction(self) -> Direction:
        """The direction whose rules `index` counts."""
        return Direction(self.direction_name)

    @property
    def field(self) -> str:
        """The rule's field: `spec.ingress[2]`."""
        return f"spec.{self.direction.field}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rule that did not admit the connection, or a whole side that could not (`rule` None).

    `peers` holds, for each peer of the rule, the conditions that failed; empty when some peer matched.
    `ports` holds a miss for each entry of `ports`; empty when one matched.
    `side` says why there was no rule to try. At least one of the three is not empty.
    """

    policy: ObjectRef
    rule: RuleRef | None
    position: Position | None
    peers: tuple[tuple[Miss, ...], ...] = ()
    ports: tuple[Miss, ...] = ()
    side: tuple[Miss, ...] = ()

    @property
    def misses(self) -> tuple[Miss, ...]:
        """Every condition that failed."""
        return self.side + tuple(miss for peer in self.peers for miss in peer) + self.ports

    @property
    def nearness(self) -> tuple[int, int, ObjectRef, int]:
        """A sort key: first what could not be read, then rules by how many conditions failed, then sides without."""
        distance = min((sum(miss.distance for miss in peer) for peer in self.peers), default=0)
        distance += min((miss.distance for miss in self.ports), default=0)
        rank = 1
        if any(isinstance(miss, Unreadable) for miss in self.side):
            rank = 0
        elif any(isinstance(miss, NoRule) for miss in self.side):
            rank = 2
        return rank, distance, self.policy, self.rule.index if self.rule is not None else 0


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What one gate says. `isolating` are the policies that isolate it; `attempts` the rules that did not admit."""

    direction: Direction
    outcome: Outcome
    end: PodEnd | None = None
    isolating: tuple[ObjectRef, ...] = ()
    admitted_by: RuleRef | None = None
    position: Position | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def lets_pass(self) -> bool:
        """Whether the gate is no obstacle."""
        return self.outcome is not Outcome.NOT_ADMITTED

    @property
    def nearest(self) -> tuple[Attempt, ...]:
        """The attempts, the one that missed by least first."""
        return tuple(sorted(self.attempts, key=lambda attempt: attempt.nearness))


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step (from 1): the traffic itself, then its gates, then the verdict."""

    number: int
    about: Traffic | GateDecision | Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on some traffic, with its reasons."""

    traffic: Traffic
    egress: GateDecision
    ingress: GateDecision

    @property
    def gates(self) -> Mapping[Direction, GateDecision]:
        """Both gates in the order a packet meets them."""
        return {Direction.EGRESS: self.egress, Direction.INGRESS: self.ingress}

    @property
    def deciding_direction(self) -> Direction | None:
        """The first gate that did not let it pass; None when it is allowed."""
        for direction in ORDER:
            if not self.gates[direction].lets_pass:
                return direction
        return None

    @property
    def verdict(self) -> Verdict:
        """Allowed when both gates let it pass.

        Kubernetes, "Network Policies": "both the egress policy on the source pod and the ingress policy on the
        destination pod need to allow the connection. If either side does not allow the connection, it will not
        happen."
        """
        return Verdict.ALLOWED if self.deciding_direction is None else Verdict.DENIED

    @property
    def policies(self) -> tuple[ObjectRef, ...]:
        """The policies that isolate at the deciding gate; none when it is allowed."""
        direction = self.deciding_direction
        return () if direction is None else self.gates[direction].isolating

    @property
    def steps(self) -> tuple[Step, ...]:
        """The way to the verdict, in the order of the packet."""
        about: tuple[Traffic | GateDecision | Verdict, ...] = (
            self.traffic,
            self.egress,
            self.ingress,
            self.verdict,
        )
        return tuple(Step(number, item) for number, item in enumerate(about, start=1))


ORDER: Final = (Direction.EGRESS, Direction.INGRESS)
"""The gates in the order a packet meets them."""
