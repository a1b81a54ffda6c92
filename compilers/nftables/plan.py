"""From the tables a kernel holds to the tables it should hold, in at most four transactions.

Knows which change may become visible when. Knows nothing of why a table should look as it does (render.py).

A packet walks the generation of the rule set that it began with, but sees the elements of maps as they are now. So:
- **prepare** adds sets and chains that nothing visible refers to yet;
- **switch** is the one transaction after which packets are judged by other rules. What it points to was committed by
  prepare, so no packet finds a chain that is still empty;
- **admit** follows a switch that rewrote chains, and holds what only opens: elements that join sets, gates that go. Seen
  by a packet that still walks the old rules, they could let it pass although neither the old nor the new policy does.
  Without a rewritten chain there are no old rules, and all elements change in the one transaction of switch;
- **clean up** deletes what nothing refers to any more.
A crash after any of them leaves either the old policy whole or the new one, and the next plan starts from what is found.
"""

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from compilers.nftables.render import UNKNOWN_SLOT, Tables
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

SELF: Final = frozenset({"self4", "self6"})
"""Pairs of one pod's own addresses: allowed in every state, so they may join before anything else does."""


KNOWN: Final = frozenset({"known4", "known6"})
"""Addresses of the node's pods, which the slots for unknown addresses look at."""


class Gates(enum.Enum):
    """Which elements of verdict maps leave: those that lead elsewhere afterwards, or those of open gates too."""

    LED_ELSEWHERE = "led elsewhere"
    ALL = "all"


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
    rewritten = tuple(_rewritten_chains(found, desired))
    yield from _leaving(found, desired, Gates.LED_ELSEWHERE if rewritten else Gates.ALL)
    yield from _joining(found, desired, lambda name: not _waits(name, rewritten))
    for before, after in _gate_maps(found, desired):
        yield from _lead(desired.identity, before, after)
    for chain in rewritten:
        yield FlushChain(desired.identity, chain.name)
        yield from _fill(desired.identity, chain)


def _admit(found: Table, desired: Table) -> Iterator[Command]:
    rewritten = tuple(_rewritten_chains(found, desired))
    if rewritten:
        for before, after in _gate_maps(found, desired):
            yield from _unlead(desired.identity, after, before.elements.keys() - after.elements.keys())
        yield from _joining(found, desired, lambda name: _waits(name, rewritten))


def _leaving(found: Table, desired: Table, gates: Gates) -> Iterator[Command]:
    for before, after in _kept_sets(found, desired):
        yield from _take(desired.identity, before, before.elements - after.elements)
    for before_map, after_map in _gate_maps(found, desired):
        gone = {key for key, verdict in before_map.elements.items() if after_map.elements.get(key) != verdict}
        if gates is Gates.LED_ELSEWHERE:
            gone &= after_map.elements.keys()
        yield from _unlead(desired.identity, after_map, gone)


def _waits(name: str, rewritten: tuple[Chain, ...]) -> bool:
    """Whether elements of this set join in admit rather than in switch."""
    if not rewritten or name in SELF:
        return False
    # Unknown addresses are dropped from this commit on: who is known must be known by then.
    return not (
        name in KNOWN and any(chain.name in UNKNOWN_SLOT.values() and chain.rules for chain in rewritten)
    )


def _joining(found: Table, desired: Table, now: Callable[[str], bool]) -> Iterator[Command]:
    for before, after in _kept_sets(found, desired):
        if now(after.declaration.name):
            yield from _put(desired.identity, after, after.elements - before.elements)


def _gate_maps(found: Table, desired: Table) -> Iterator[tuple[NamedMap, NamedMap]]:
    """Every verdict map as it is and as it should be; prepare has added one that was missing, empty."""
    maps = {one.declaration.name: one for one in found.maps}
    for one in desired.maps:
        yield maps.get(one.declaration.name, NamedMap(one.declaration)), one


def _kept_sets(found: Table, desired: Table) -> Iterator[tuple[NamedSet, NamedSet]]:
    """Sets that stay, as they are and as they should be; one declared otherwise is not one of them."""
    sets = {one.declaration: one for one in found.sets}
    for one in desired.sets:
        if one.declaration in sets:
            yield sets[one.declaration], one


def _rewritten_chains(found: Table, desired: Table) -> Iterator[Chain]:
    """Chains that are there and get other rules."""
    chains = {chain.name: chain for chain in found.chains}
    for chain in desired.chains:
        if chain.name in chains and chains[chain.name].rules != chain.rules:
            yield chain


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


def _unlead(table: TableName, gate_map: NamedMap, keys: Iterable[Element]) -> Iterator[Command]:
    leaving = tuple(in_order(gate_map.declaration.key, keys))
    if leaving:
        yield DeleteElements(table, gate_map.declaration.name, leaving)


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
