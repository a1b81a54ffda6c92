"""Decisions in words: numbered lines that an admin reads from top to bottom.

Knows sentences. Knows nothing of judging: everything said here is in the decision.
"""

from collections.abc import Iterator

from compilers.evaluate.decision import Attempt, Decision, GateDecision, Outcome, Verdict
from compilers.evaluate.ends import shown
from compilers.evaluate.misses import Miss
from compilers.evaluate.traffic import Traffic
from compilers.model.faults import ObjectRef, Position, path_text
from compilers.model.words import Direction


def lines(decision: Decision) -> tuple[str, ...]:
    """The steps of the decision, numbered; beneath a gate that denies, its attempts, the nearest first."""
    text: list[str] = []
    for step in decision.steps:
        first, *rest = _about(decision, step.about)
        text.append(f"{step.number}. {first}")
        text.extend(f"   {line}" for line in rest)
    return tuple(_printable(line) for line in text)


def _printable(line: str) -> str:
    """The line with every character that could act on a terminal escaped; paths of faults and files hold any text."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def _about(decision: Decision, about: Traffic | GateDecision | Verdict) -> Iterator[str]:
    if isinstance(about, Traffic):
        yield str(about)
    elif isinstance(about, GateDecision):
        yield from _gate(decision, about)
    else:
        yield _verdict(decision)


def _gate(decision: Decision, gate: GateDecision) -> Iterator[str]:
    if gate.end is None:
        source = gate.direction is Direction.EGRESS
        end = decision.traffic.source if source else decision.traffic.destination
        yield f"{gate.direction.field} of {end}: {gate.outcome.value}"
        return
    place = f"{gate.direction.field} of {gate.end}"
    if not gate.isolating:
        yield f"{place}: {gate.outcome.value}"
        return
    isolated = f"{place}: isolated by {', '.join(policy_text(policy) for policy in gate.isolating)}"
    if gate.outcome is Outcome.ADMITTED and gate.admitted_by is not None:
        rule = gate.admitted_by
        policy = ObjectRef("NetworkPolicy", rule.namespace, rule.policy)
        yield f"{isolated}; {policy_text(policy)} {rule.field}{_place(gate.position)} admits it"
        return
    yield f"{isolated}; {gate.outcome.value}"
    for attempt in gate.nearest:
        yield from _attempt(attempt)


def _attempt(attempt: Attempt) -> Iterator[str]:
    rule = f" {attempt.rule.field}" if attempt.rule is not None else ""
    head = f"{policy_text(attempt.policy)}{rule}{_place(attempt.position)}"
    yield from (f"{head}: {miss}" for miss in attempt.side)
    # A rule with a hundred peers has a hundred misses; the nearest peer is the one its author meant.
    nearest = sorted(attempt.peers, key=lambda misses: sum(miss.distance for miss in misses))
    for misses in nearest[:1]:
        others = f" (nearest of {len(nearest)} peers)" if len(nearest) > 1 else ""
        yield f"{head}: {' and '.join(_miss(miss) for miss in misses)}{others}"
    for miss in sorted(attempt.ports, key=lambda miss: miss.distance)[:1]:
        others = f" (nearest of {len(attempt.ports)} ports)" if len(attempt.ports) > 1 else ""
        yield f"{head}: {_miss(miss)}{others}"


def _miss(miss: Miss) -> str:
    # The rule's own field is in the head of the line: spec, direction, index.
    return f"{path_text(miss.path[3:])}: {miss}"


def _place(position: Position | None) -> str:
    return f" ({position})" if position is not None else ""


def _verdict(decision: Decision) -> str:
    direction = decision.deciding_direction
    if direction is None:
        return decision.verdict.value
    return f"{decision.verdict.value} by the {direction.field} of {decision.gates[direction].end}"


def policy_text(policy: ObjectRef) -> str:
    """A policy's kind, namespace and name, fit for a terminal line."""
    return f"{policy.kind} {shown(policy.namespace)}/{shown(policy.name)}"
