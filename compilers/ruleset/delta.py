"""The difference between two rule sets of a node, as a value.

`apply(difference(a, b), a) == b`. Knows the parts of a rule set. Knows nothing of phases or of nft.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from compilers.model.faults import InvalidField
from compilers.model.settings import Enforcement
from compilers.model.words import Address
from compilers.ruleset.parts import (
    BlockSet,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortElement,
    PortSet,
    address_order,
    port_element_order,
)
from compilers.ruleset.rule_set import RuleSet

Element = TypeVar("Element")
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ElementChange(Generic[Element]):
    """Elements that join and leave one set; both sorted, never both empty."""

    name: str
    added: tuple[Element, ...] = ()
    removed: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns one rule set into another. Every tuple is sorted; `put_` replaces or adds, `removed_` lists keys.

    `enforcement` None: as before.
    """

    added_peer_sets: tuple[PeerSet, ...] = ()
    changed_peer_sets: tuple[ElementChange[Address], ...] = ()
    removed_peer_sets: tuple[str, ...] = ()
    added_port_sets: tuple[PortSet, ...] = ()
    changed_port_sets: tuple[ElementChange[PortElement], ...] = ()
    removed_port_sets: tuple[str, ...] = ()
    added_block_sets: tuple[BlockSet, ...] = ()
    removed_block_sets: tuple[str, ...] = ()
    added_classes: tuple[PolicyClass, ...] = ()
    removed_classes: tuple[str, ...] = ()
    put_pods: tuple[PodEntry, ...] = ()
    removed_pods: tuple[str, ...] = ()
    put_legend: tuple[tuple[Address, LegendEntry], ...] = ()
    removed_legend: tuple[Address, ...] = ()
    enforcement: Enforcement | None = None


NOTHING = Delta()


def difference(old: RuleSet, new: RuleSet) -> Delta:
    """The delta that turns `old` into `new`; both must be of the same node."""
    if old.node != new.node:
        raise InvalidField(f"rule sets of two nodes: {old.node} and {new.node}")
    return Delta(
        added_peer_sets=_added(old.peer_sets, new.peer_sets),
        changed_peer_sets=tuple(
            ElementChange(
                name,
                tuple(sorted(after.addresses - before.addresses, key=address_order)),
                tuple(sorted(before.addresses - after.addresses, key=address_order)),
            )
            for name, before, after in _changed(old.peer_sets, new.peer_sets)
        ),
        removed_peer_sets=_removed(old.peer_sets, new.peer_sets),
        added_port_sets=_added(old.port_sets, new.port_sets),
        changed_port_sets=tuple(
            ElementChange(
                name,
                tuple(sorted(after.elements - before.elements, key=port_element_order)),
                tuple(sorted(before.elements - after.elements, key=port_element_order)),
            )
            for name, before, after in _changed(old.port_sets, new.port_sets)
        ),
        removed_port_sets=_removed(old.port_sets, new.port_sets),
        added_block_sets=_added(old.block_sets, new.block_sets),
        removed_block_sets=_removed(old.block_sets, new.block_sets),
        added_classes=_added(old.classes, new.classes),
        removed_classes=_removed(old.classes, new.classes),
        put_pods=tuple(pod for uid, pod in new.pods.items() if old.pods.get(uid) != pod),
        removed_pods=_removed(old.pods, new.pods),
        put_legend=tuple((key, entry) for key, entry in new.legend.items() if old.legend.get(key) != entry),
        removed_legend=tuple(key for key in old.legend if key not in new.legend),
        enforcement=None if old.enforcement is new.enforcement else new.enforcement,
    )


def apply(delta: Delta, rule_set: RuleSet) -> RuleSet:
    """The rule set after the delta; raises InvalidField when the delta does not fit (it is for another state)."""
    if delta.enforcement is rule_set.enforcement:
        raise InvalidField(f"the delta makes enforcement {rule_set.enforcement.value}, which it is already")
    return RuleSet.of(
        rule_set.node,
        peer_sets=_after(
            rule_set.peer_sets,
            {part.name: part for part in delta.added_peer_sets},
            delta.removed_peer_sets,
            {
                change.name: PeerSet(
                    change.name, _moved(_part(rule_set.peer_sets, change.name).addresses, change)
                )
                for change in delta.changed_peer_sets
            },
        ),
        port_sets=_after(
            rule_set.port_sets,
            {part.name: part for part in delta.added_port_sets},
            delta.removed_port_sets,
            {
                change.name: PortSet(
                    change.name, _moved(_part(rule_set.port_sets, change.name).elements, change)
                )
                for change in delta.changed_port_sets
            },
        ),
        block_sets=_after(
            rule_set.block_sets,
            {part.name: part for part in delta.added_block_sets},
            delta.removed_block_sets,
            {},
        ),
        classes=_after(
            rule_set.classes, {part.name: part for part in delta.added_classes}, delta.removed_classes, {}
        ),
        pods=_put(rule_set.pods, {pod.uid: pod for pod in delta.put_pods}, delta.removed_pods).values(),
        legend=_put(rule_set.legend, dict(delta.put_legend), delta.removed_legend),
        enforcement=rule_set.enforcement if delta.enforcement is None else delta.enforcement,
    )


def _added(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(part for name, part in new.items() if name not in old)


def _removed(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[str, ...]:
    return tuple(name for name in old if name not in new)


def _changed(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[tuple[str, Value, Value], ...]:
    return tuple((name, old[name], part) for name, part in new.items() if name in old and old[name] != part)


def _part(parts: Mapping[str, Value], name: str) -> Value:
    if name not in parts:
        raise InvalidField(f"the delta changes {name}, which is not there")
    return parts[name]


def _moved(elements: frozenset[Element], change: ElementChange[Element]) -> frozenset[Element]:
    added, removed = frozenset(change.added), frozenset(change.removed)
    if not removed <= elements or added & elements:
        raise InvalidField(f"the delta does not fit the elements of {change.name}")
    return (elements - removed) | added


def _after(
    parts: Mapping[str, Value],
    added: Mapping[str, Value],
    removed: tuple[str, ...],
    changed: Mapping[str, Value],
) -> tuple[Value, ...]:
    for name in added:
        if name in parts:
            raise InvalidField(f"the delta adds {name}, which is there already")
    return tuple(_put(parts, {**changed, **added}, removed).values())


def _put(parts: Mapping[Key, Value], put: Mapping[Key, Value], removed: tuple[Key, ...]) -> dict[Key, Value]:
    after = {**parts, **put}
    for key in removed:
        if key not in parts or key in put:
            raise InvalidField(f"the delta removes {key}, which is not there")
        del after[key]
    return after
