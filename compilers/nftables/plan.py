"""From the tables a kernel holds to the tables it should hold, in at most four transactions.

Knows which change may become visible when. Knows nothing of why a table should look as it does (render.py).

A packet walks the generation of the rule set that it began with, but sees elements as they are when it looks. So:
- **prepare** adds sets and chains that nothing visible refers to yet;
- **switch** is the one transaction after which packets are judged by other rules. What it points to was committed by
  prepare, so no packet finds a chain that is still empty. Its elements only close: every look at them finds what the old
  policy knew or less;
- **admit** holds what only opens: elements that join sets, gates that go. Seen by a packet that still walks the old
  rules, or that looked at something else before that closed it, they could let it pass although neither the old nor
  the new policy does. Where nothing was rewritten and nothing closes, switch holds them;
- **clean up** deletes what nothing refers to any more.
No packet may be under way over two of them: who carries them out waits (transaction.Nft).
A crash after any of them leaves either the old policy whole or the new one, and the next plan starts from what is found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.words import Family
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
    changes = tuple(_changes(*pair) for pair in pairs)
    return Phases(
        prepare=Transaction(tuple(command for pair in pairs for command in _prepare(*pair))),
        switch=Transaction(tuple(command for one in changes for command in _switch(one))),
        admit=Transaction(tuple(command for one in changes for command in _admit(one))),
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


@dataclass(frozen=True, slots=True)
class _SetChange:
    """A set that stays: what leaves closes, what joins opens."""

    named_set: NamedSet
    leaving: frozenset[Element]
    joining: frozenset[Element]


@dataclass(frozen=True, slots=True)
class _GateChange:
    """A verdict map: gates that come or lead elsewhere close, gates that go open."""

    gate_map: NamedMap
    coming: frozenset[Element]
    led_elsewhere: frozenset[Element]
    going: frozenset[Element]


@dataclass(frozen=True, slots=True)
class _Changes:
    """What packets see change in a table, in order."""

    table: TableName
    sets: tuple[_SetChange, ...]
    gates: tuple[_GateChange, ...]
    rewritten: tuple[Chain, ...]
    """Chains that are there and get other rules."""

    @property
    def apart(self) -> bool:
        """Whether what opens has to wait for what closes.

        A packet asks for one thing after the other and passes if all hold: port and peer of a rule, the gate of its source
        and that of its destination. If one closes and another opens between two looks, it has seen both open.
        """
        closing = any(one.leaving for one in self.sets) or any(
            one.coming or one.led_elsewhere for one in self.gates
        )
        opening = any(self._opens(one) for one in self.sets) or any(one.going for one in self.gates)
        return bool(self.rewritten) or (closing and opening and not self._one_peer_moves())

    def waits(self, name: str) -> bool:
        """Whether elements of this set join after what closes, if that comes apart, rather than with it."""
        if name in SELF:
            return False
        # Unknown addresses are dropped from this commit on: who is known must be known by then.
        return not (
            name in KNOWN
            and any(chain.name in UNKNOWN_SLOT.values() and chain.rules for chain in self.rewritten)
        )

    def _opens(self, change: _SetChange) -> bool:
        return bool(change.joining) and change.named_set.declaration.name not in SELF

    def _one_peer_moves(self) -> bool:
        """Whether one address a family changes peer sets, and nothing else happens.

        No packet has to find one address in two of them: each gate asks for the other end's. Apart, the address would be
        in neither for a moment, and what both policies allow refused.
        """
        if any(one.coming or one.led_elsewhere or one.going for one in self.gates):
            return False
        moving: set[Element] = set()
        for change in self.sets:
            if change.named_set.declaration.name in KNOWN:
                return False
            moving |= change.leaving | change.joining
        addresses = [one for one in moving if isinstance(one, IPv4Address | IPv6Address)]
        each_family = [[one for one in addresses if one.version == family.value] for family in Family]
        return len(addresses) == len(moving) and all(len(one) <= 1 for one in each_family)


def _changes(found: Table, desired: Table) -> _Changes:
    kept = tuple(
        _SetChange(after, before.elements - after.elements, after.elements - before.elements)
        for before, after in _kept_sets(found, desired)
        if before.elements != after.elements
    )
    gates = tuple(_gate_change(before, after) for before, after in _gate_maps(found, desired))
    return _Changes(desired.identity, kept, gates, tuple(_rewritten_chains(found, desired)))


def _gate_change(before: NamedMap, after: NamedMap) -> _GateChange:
    kept = before.elements.keys() & after.elements.keys()
    return _GateChange(
        after,
        coming=frozenset(after.elements.keys() - kept),
        led_elsewhere=frozenset(key for key in kept if before.elements[key] != after.elements[key]),
        going=frozenset(before.elements.keys() - kept),
    )


def _switch(changes: _Changes) -> Iterator[Command]:
    """Elements leave before others join, so that an address can change owner; then chains get their new rules."""
    table, apart = changes.table, changes.apart
    for one in changes.sets:
        yield from _take(table, one.named_set, one.leaving)
    for gate in changes.gates:
        yield from _unlead(
            table, gate.gate_map, gate.led_elsewhere if apart else gate.led_elsewhere | gate.going
        )
    for one in changes.sets:
        if not (apart and changes.waits(one.named_set.declaration.name)):
            yield from _put(table, one.named_set, one.joining)
    for gate in changes.gates:
        yield from _lead(table, gate.gate_map, gate.coming | gate.led_elsewhere)
    for chain in changes.rewritten:
        yield FlushChain(table, chain.name)
        yield from _fill(table, chain)


def _admit(changes: _Changes) -> Iterator[Command]:
    """What opens, if that has to wait."""
    if not changes.apart:
        return
    for gate in changes.gates:
        yield from _unlead(changes.table, gate.gate_map, gate.going)
    for one in changes.sets:
        if changes.waits(one.named_set.declaration.name):
            yield from _put(changes.table, one.named_set, one.joining)


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


def _lead(table: TableName, gate_map: NamedMap, keys: Iterable[Element]) -> Iterator[Command]:
    elements = tuple(
        MapElement(key, gate_map.elements[key]) for key in in_order(gate_map.declaration.key, keys)
    )
    if elements:
        yield AddElements(table, gate_map.declaration.name, elements)


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
