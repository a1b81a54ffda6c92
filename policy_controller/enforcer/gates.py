"""Whether packets of unknown addresses are dropped: addresses on a pod interface that no known pod of this node has.

Knows pods that wait for an address, how current the enforcer's knowledge is, and the setting. Knows no kernel.
Pure: time comes in as a number.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compilers.model.words import Direction
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.newcomers import Newcomers

BOTH: Final = frozenset(Direction)
NEITHER: Final[frozenset[Direction]] = frozenset()


class Knowledge(enum.Enum):
    """How much the enforcer knows of the pods that are bound to its node."""

    NOTHING = "nothing"
    """It has never applied a generation and found none: installing it must not cut anybody off."""
    STALE = "stale"
    """What is in force is not the operator's last word: a pod may have been bound since."""
    CURRENT = "current"
    """What is in force is the last that this stream brought."""


class UnknownPods(enum.Enum):
    """What happens to unknown addresses while knowledge is stale (setting `unknownPods`)."""

    DROP = "drop"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Since when each pod, by uid, has been seen without an address: monotonic seconds."""

    since: Mapping[str, float]

    def after(self, rule_set: RuleSet, now: float) -> "Waiting":
        """The same for a rule set that arrives now: who waits already goes on waiting, who has an address does not."""
        return Waiting(
            {uid: self.since.get(uid, now) for uid, pod in rule_set.pods.items() if not pod.addresses}
        )


NOBODY: Final = Waiting({})


@dataclass(frozen=True, slots=True)
class UnknownGates:
    """The setting: what stale knowledge means, and for how many seconds a pod that waits closes its directions."""

    unknown_pods: UnknownPods = UnknownPods.DROP
    wait_seconds: float = 30.0

    def closed(
        self,
        knowledge: Knowledge,
        rule_set: RuleSet | None,
        waiting: Waiting,
        newcomers: Newcomers,
        now: float,
    ) -> frozenset[Direction]:
        """The directions in which unknown addresses are dropped now. `rule_set` None: what is in force was adopted."""
        if knowledge is Knowledge.NOTHING:
            return NEITHER
        if rule_set is not None and rule_set.is_off:
            # Whoever has come since is not isolated either, until somebody says otherwise.
            return NEITHER
        if knowledge is Knowledge.STALE and self.unknown_pods is UnknownPods.DROP:
            return BOTH
        if rule_set is None:
            return NEITHER
        if knowledge is Knowledge.CURRENT and self._untold(waiting, newcomers, now):
            # What the operator has said is behind what runs: it may be isolated like any other pod of the node.
            directions = frozenset(one.direction for one in rule_set.classes.values())
        else:
            directions = NEITHER
        return directions | frozenset(
            direction
            for direction in Direction
            if any(self._closes(waiting.since.get(pod.uid), now) for pod in rule_set.waiting(direction))
        )

    def next_opening(self, waiting: Waiting, newcomers: Newcomers, now: float) -> float | None:
        """Seconds until a pod has waited too long to close anything further; None when none will."""
        seen = (*waiting.since.values(), *newcomers.since.values())
        left = [since + self.wait_seconds - now for since in seen if self._closes(since, now)]
        return min(left, default=None)

    def overdue(self, waiting: Waiting, now: float) -> tuple[str, ...]:
        """Uids of pods that have waited too long to close anything further, sorted."""
        return tuple(sorted(uid for uid, since in waiting.since.items() if not self._closes(since, now)))

    def _untold(self, waiting: Waiting, newcomers: Newcomers, now: float) -> bool:
        """Whether more pods have come than the operator has told of: of those that wait, one may be behind each link."""
        awaited, come = (
            sum(self._closes(one, now) for one in since.values())
            for since in (waiting.since, newcomers.since)
        )
        return come > awaited

    def _closes(self, since: float | None, now: float) -> bool:
        # A pod nobody has noted as waiting has just been seen: it closes.
        return since is None or now - since < self.wait_seconds
