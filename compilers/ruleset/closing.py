"""A rule set without what cannot be held: the gates that need it are closed, everything else stays.

Knows which class needs which set. Knows nothing of why something cannot be held, or of kernels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from compilers.model.words import Direction
from compilers.ruleset.parts import PodEntry
from compilers.ruleset.rule_set import RuleSet, by_key

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Closing:
    """What is left of a rule set, and the gates that are closed in it: direction and pod, sorted by uid."""

    rule_set: RuleSet
    gates: tuple[tuple[Direction, PodEntry], ...]


def closing(rule_set: RuleSet, name: str) -> Closing | None:
    """The rule set in which every class that needs the class or set of this name admits nothing.

    None where nothing needs it, or where that would change nothing: such a class admits nothing already.
    """
    needing = [
        one for one in rule_set.classes.values() if one.rules and (one.name == name or name in one.set_names)
    ]
    if not needing:
        return None
    instead = {one.name: replace(one, rules=()) for one in needing}
    classes = {one.name: one for one in (instead.get(each.name, each) for each in rule_set.classes.values())}
    needed = {of_class for one in classes.values() for of_class in one.set_names}
    return Closing(
        replace(
            rule_set,
            peer_sets=_those(rule_set.peer_sets, needed),
            port_sets=_those(rule_set.port_sets, needed),
            block_sets=_those(rule_set.block_sets, needed),
            classes=by_key(classes.values(), lambda one: one.name),
            pods={
                uid: _moved(pod, {old: one.name for old, one in instead.items()})
                for uid, pod in rule_set.pods.items()
            },
        ),
        tuple(
            (direction, pod)
            for pod in rule_set.pods.values()
            for direction in Direction
            if pod.class_of(direction) in instead
        ),
    )


def _those(parts: Mapping[str, Part], names: Iterable[str]) -> dict[str, Part]:
    wanted = frozenset(names)
    return {name: part for name, part in parts.items() if name in wanted}


def _moved(pod: PodEntry, instead: Mapping[str, str]) -> PodEntry:
    ingress, egress = (
        None if name is None else instead.get(name, name) for name in (pod.ingress, pod.egress)
    )
    return (
        pod
        if (ingress, egress) == (pod.ingress, pod.egress)
        else replace(pod, ingress=ingress, egress=egress)
    )
