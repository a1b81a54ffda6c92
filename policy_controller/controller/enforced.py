"""On which nodes each policy is in force as it is now, and why it is not on the others.

Knows what the operator knows at one moment, and computes; any thread may. What a node says that it has committed counts,
nothing else: a node without a stream may still enforce all of it, but nobody can tell.

A policy is in force on a node when what the node last acknowledged agrees with what it should have, in everything that is
about pods this policy isolates there (their gates, and every set that these refer to), and that was compiled from the
policy as it is now. A node is counted when it has such a pod, or still holds an earlier version of the policy. A node on
which no enforcer can be is no node to wait for: it is counted apart.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from compilers.compile import Compiler
from compilers.model.faults import ObjectRef
from compilers.model.words import Direction
from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller.moments import Moments
from policy_controller.controller.sessions import SessionStatus
from policy_controller.controller.store import Written


class Stage(enum.Enum):
    """How far a policy has come."""

    CLOSED = "closed"
    """Something of it cannot be enforced as written: pods that it selects admit nothing."""
    WAITING = "waiting"
    """Not yet, or not known to be, in force on every node it should be."""
    ENFORCED = "enforced"
    """In force on every node that has pods it isolates."""
    UNUSED = "unused"
    """It isolates no pod of a node that could enforce it."""


@dataclass(frozen=True, slots=True, order=True)
class Behind:
    """A node on which the policy is not in force, or not known to be, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one policy: how many nodes are counted, on how many it is in force, and which are behind, sorted.

    `since`: when the last of them was first known to hold it; None unless it is in force on all. `others`: how many nodes
    more have pods that it selects, and isolate none.
    """

    stage: Stage
    nodes: int = 0
    enforced_on: int = 0
    since: datetime | None = None
    behind: tuple[Behind, ...] = ()
    others: int = 0


@dataclass(slots=True)
class Picture:
    """One moment of the operator. `compiler` is of the state of `revision`, None where nothing compiles or did yet.

    `shut`: by node, policies whose pods are closed there for want of room. `closed`: policies that close pods by what is
    wrong with them. `others`: nodes that run something else than Linux, and so have no enforcer.
    """

    written: Mapping[ObjectRef, Written]
    compiler: Compiler | None
    revision: int
    nodes: Mapping[str, tuple[SessionStatus, Moments]]
    shut: Mapping[str, frozenset[ObjectRef]]
    closed: frozenset[ObjectRef]
    others: frozenset[str] = frozenset()
    _lagging: Mapping[ObjectRef, frozenset[str]] = field(init=False)
    """The nodes that hold something else of a policy than they should."""

    def __post_init__(self) -> None:
        found: dict[ObjectRef, set[str]] = {}
        for name, (status, _) in self.nodes.items():
            for policy in lagging(status):
                found.setdefault(policy, set()).add(name)
        self._lagging = {policy: frozenset(names) for policy, names in found.items()}
        # Whoever has a stream enforces, whatever its labels say.
        self.others = self.others.difference(self.nodes)

    def standing(self, policy: ObjectRef) -> Standing:
        """Of a policy that there is. Raises KeyError for another."""
        written = self.written[policy]
        told = None if self.compiler is None else self.compiler.nodes_of(policy)
        if told is None or written.revision > self.revision:
            return Standing(Stage.CLOSED if policy in self.closed else Stage.WAITING)
        there = {*told, *self._lagging.get(policy, ())}
        names = sorted(there - self.others)
        behind = tuple(self._found_behind(names, policy))
        return Standing(
            self._stage(policy, names, behind),
            len(names),
            len(names) - len(behind),
            None if behind else self._since(names, written.revision),
            behind,
            len(there & self.others),
        )

    def _stage(self, policy: ObjectRef, names: list[str], behind: tuple[Behind, ...]) -> Stage:
        if policy in self.closed or any(policy in self.shut.get(name, ()) for name in names):
            return Stage.CLOSED
        if behind:
            return Stage.WAITING
        return Stage.ENFORCED if names else Stage.UNUSED

    def _since(self, names: Iterable[str], revision: int) -> datetime | None:
        moments = [self.nodes[name][1].since(revision) for name in names]
        return max((moment for moment in moments if moment is not None), default=None)

    def is_told(self, status: SessionStatus) -> bool:
        """Whether a node's desired state was compiled from the cluster's state of `revision`.

        A round gives that to every node that was connected as it began, also where nothing of it changes, but not to
        one that did not compile: pods may have come there that nobody has told it of.
        """
        return status.desired is not None and status.desired.revision >= self.revision

    def _found_behind(self, names: Iterable[str], policy: ObjectRef) -> Iterator[Behind]:
        for name in names:
            reason = self._reason(name, policy)
            if reason is not None:
                yield Behind(name, reason)

    def _reason(self, name: str, policy: ObjectRef) -> str | None:
        """Why a policy is not in force on a node as it is now."""
        if name not in self.nodes:
            return "is not connected"
        status = self.nodes[name][0]
        if policy in self.shut.get(name, ()):
            return "has no room for it: pods that it selects are closed"
        if not self.is_told(status):
            return "has not been told yet"
        if status.desired is not None and status.desired.rule_set.is_off:
            return "enforcement is off"
        if status.in_force is not None and name not in self._lagging.get(policy, ()):
            return None
        if status.last_nack is not None and status.last_nack.generation == status.sent:
            return f"refused generation {status.sent} ({status.last_nack.cause.value})"
        return "has not acknowledged it yet"


def lagging(status: SessionStatus) -> frozenset[ObjectRef]:
    """Policies of which a node holds something else than it should; those of unknown nodes are not among them."""
    if status.in_force is None or status.desired is None:
        return frozenset()
    held, desired = status.in_force.rule_set, status.desired.rule_set
    if held == desired:
        return frozenset()
    found: set[ObjectRef] = set()
    same: dict[str, bool] = {}
    for uid in held.pods.keys() | desired.pods.keys():
        before, after = held.pods.get(uid), desired.pods.get(uid)
        for direction in Direction:
            name = None if before is None else before.class_of(direction)
            unchanged = before == after and (
                name is None or same.setdefault(name, _is_same(name, held, desired))
            )
            if not unchanged:
                found |= _policies(held, uid, direction) | _policies(desired, uid, direction)
    return frozenset(found)


def _is_same(name: str, held: RuleSet, desired: RuleSet) -> bool:
    """Whether every set that a class of both refers to has the same elements."""
    return all(
        held.peer_sets.get(one) == desired.peer_sets.get(one)
        and held.port_sets.get(one) == desired.port_sets.get(one)
        for one in held.classes[name].set_names
    )


def _policies(rule_set: RuleSet, uid: str, direction: Direction) -> frozenset[ObjectRef]:
    """The policies that isolate a pod in a direction."""
    pod = rule_set.pods.get(uid)
    name = None if pod is None else pod.class_of(direction)
    return frozenset() if name is None else frozenset(rule_set.classes[name].policies)
