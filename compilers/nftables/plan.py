"""From the tables a kernel holds to the tables it should hold, in at most four transactions.

Knows which change may become visible when. Knows nothing of why a table should look as it does (render.py).

A packet walks the generation of the rule set that it began with, but sees the elements of maps as they are now. So:
- **prepare** adds sets and chains that nothing visible refers to yet;
- **switch** is the one transaction after which packets are judged differently: elements, and the rules of chains that
  were there before. What it points to was committed by prepare, so no packet finds a chain that is still empty;
- **admit** adds elements to sets that a class looks into which some pod has just left. Added by switch they would be
  seen by a packet that still walks the old class, and admitted although neither the old nor the new policy admits it;
- **clean up** deletes what nothing refers to any more.
A crash after any of them leaves either the old policy whole or the new one, and the next plan starts from what is found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compilers.nftables.references import references, targets
from compilers.nftables.render import Tables
from compilers.nftables.table import Chain, Element, NamedMap, NamedSet, SetKind, Table, TableName
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    FlushChain,
    MapElement,
    Transaction,
)
from compilers.nftables.writer import in_order


@dataclass(frozen=True, slots=True)
class Phases:
    """The transactions of an apply, in order; an empty one need not be sent."""

    prepare: Transaction
    switch: Transaction
    admit: Transaction
    clean_up: Transaction

    def each(self) -> tuple[tuple[str, Transaction], ...]:
        """All of them with their names, in the order in which they are applied."""
        return (
            ("prepare", self.prepare),
            ("switch", self.switch),
            ("admit", self.admit),
            ("clean up", self.clean_up),
        )


def plan(found: Tables, desired: Tables) -> Phases:
    """What turns `found` into `desired`; all phases are empty when they are equal.

    Both tables of `found` must hold the base (transaction.install establishes it); sets that are declared otherwise than
    desired are left alone, which the next read-back reports.
    """
    pairs = tuple(zip(found.each(), desired.each(), strict=True))
    return Phases(
        prepare=Transaction(tuple(command for pair in pairs for command in _prepare(*pair))),
        switch=Transaction(tuple(command for pair in pairs for command in _switch(*pair))),
        admit=Transaction(tuple(command for pair in pairs for command in _admit(*pair))),
        clean_up=Transaction(tuple(command for pair in pairs for command in _clean_up(*pair))),
    )


def _prepare(found: Table, desired: Table) -> Iterator[Command]:
    """Sets with their elements and chains with their rules, all new: nothing leads to them yet.

    A base chain that someone deleted is new as well; it judges from this commit on, by the maps as they are.
    """
    table = desired.identity
    held = set(_set_names(found))
    for one_set in desired.sets:
        if one_set.declaration.name not in held:
            yield AddSet(table, one_set.declaration)
            yield from _put(table, one_set, one_set.elements)
    for one_map in desired.maps:
        if one_map.declaration.name not in held:
            yield AddMap(table, one_map.declaration)
    chains = {chain.name for chain in found.chains}
    new = [chain for chain in desired.chains if chain.name not in chains]
    for chain in new:
        yield AddChain(table, chain.name, chain.hook)
    for chain in new:
        yield from _fill(table, chain)


def _switch(found: Table, desired: Table) -> Iterator[Command]:
    """Elements leave before others join, so that an address can change owner; then chains get their new rules."""
    table = desired.identity
    maps = {one.declaration.name: one for one in found.maps}
    paired = [(maps.get(one.declaration.name, NamedMap(one.declaration)), one) for one in desired.maps]
    contested = _contested(found, desired)
    for before, after in _kept_sets(found, desired):
        yield from _take(table, before, before.elements - after.elements)
    for before_map, after_map in paired:
        gone = [key for key, verdict in before_map.elements.items() if after_map.elements.get(key) != verdict]
        if gone:
            name, key_type = after_map.declaration.name, after_map.declaration.key
            yield DeleteElements(table, name, tuple(in_order(key_type, gone)))
    for before, after in _kept_sets(found, desired):
        if after.declaration.name not in contested:
            yield from _put(table, after, after.elements - before.elements)
    for before_map, after_map in paired:
        yield from _lead(table, before_map, after_map)
    for _, chain in _changed_chains(found, desired):
        yield FlushChain(table, chain.name)
        yield from _fill(table, chain)


def _admit(found: Table, desired: Table) -> Iterator[Command]:
    contested = _contested(found, desired)
    for before, after in _kept_sets(found, desired):
        if after.declaration.name in contested:
            yield from _put(desired.identity, after, after.elements - before.elements)


def _contested(found: Table, desired: Table) -> frozenset[str]:
    """Sets that a chain looks into which a changed chain no longer jumps to."""
    chains = {chain.name: chain for chain in found.chains}
    left = {
        target
        for before, after in _changed_chains(found, desired)
        for target in _targets(before) - _targets(after)
        if target in chains
    }
    return frozenset(name for target in left for rule in chains[target].rules for name in references(rule))


def _targets(chain: Chain) -> frozenset[str]:
    return frozenset(target for rule in chain.rules for target in targets(rule))


def _kept_sets(found: Table, desired: Table) -> Iterator[tuple[NamedSet, NamedSet]]:
    """Sets that stay, as they are and as they should be; one declared otherwise is not one of them."""
    sets = {one.declaration: one for one in found.sets}
    for one in desired.sets:
        if one.declaration in sets:
            yield sets[one.declaration], one


def _changed_chains(found: Table, desired: Table) -> Iterator[tuple[Chain, Chain]]:
    chains = {chain.name: chain for chain in found.chains}
    for chain in desired.chains:
        if chain.name in chains and chains[chain.name].rules != chain.rules:
            yield chains[chain.name], chain


def _clean_up(found: Table, desired: Table) -> Iterator[Command]:
    """Chains nobody wants are emptied first, since they refer to each other; then they and the sets go."""
    table = desired.identity
    chains = {chain.name for chain in desired.chains}
    gone = [chain.name for chain in found.chains if chain.name not in chains]
    yield from (FlushChain(table, name) for name in gone)
    yield from (DeleteChain(table, name) for name in gone)
    wanted = set(_set_names(desired))
    yield from (DeleteSet(table, name) for name in _set_names(found) if name not in wanted)


def _set_names(table: Table) -> Iterator[str]:
    """Sets and maps share one space of names."""
    yield from (one.declaration.name for one in table.sets)
    yield from (one.declaration.name for one in table.maps)


def _lead(table: TableName, before: NamedMap, after: NamedMap) -> Iterator[Command]:
    joining = [key for key, verdict in after.elements.items() if before.elements.get(key) != verdict]
    if joining:
        elements = tuple(
            MapElement(key, after.elements[key]) for key in in_order(after.declaration.key, joining)
        )
        yield AddElements(table, after.declaration.name, elements)


def _put(table: TableName, named_set: NamedSet, elements: Iterable[Element]) -> Iterator[Command]:
    joining = tuple(in_order(named_set.declaration.key, elements))
    if joining and named_set.declaration.kind is not SetKind.REMEMBERING:
        yield AddElements(table, named_set.declaration.name, joining)


def _take(table: TableName, named_set: NamedSet, elements: Iterable[Element]) -> Iterator[Command]:
    leaving = tuple(in_order(named_set.declaration.key, elements))
    if leaving:
        yield DeleteElements(table, named_set.declaration.name, leaving)


def _fill(table: TableName, chain: Chain) -> Iterator[Command]:
    for rule in chain.rules:
        yield AddRule(table, chain.name, rule)
