"""What a table holds against what it should hold, object by object.

Knows sets, maps and chains by name. Knows nothing of how a difference is mended (compilers.nftables.plan).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard, TypeVar

from compilers.nftables.references import declarations
from compilers.nftables.render import Tables
from compilers.nftables.table import Table

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Illegible:
    """A table that is there and holds what this project has no words for; `why` names it."""

    why: str


Found = Table | Illegible | None
"""What was found where a table should be; None: nothing."""


def amiss(found: Found, desired: Table) -> tuple[str, ...]:
    """One line for each thing that is other than it should be; sorted."""
    match found:
        case None:
            return (f"{desired.identity} is missing",)
        case Illegible():
            return (f"{desired.identity} cannot be read: {found.why}",)
        case Table():
            return tuple(sorted(_table_differences(found, desired)))


def leads_to(found: Found, desired: Table) -> TypeGuard[Table]:
    """Whether a plan leads from the one to the other: it changes elements and rules, but no declaration and no hook."""
    if not isinstance(found, Table):
        return False
    declared, hooks = declarations(desired), {chain.name: chain.hook for chain in desired.chains}
    return all(declared.get(name, one) == one for name, one in declarations(found).items()) and all(
        hooks.get(chain.name, chain.hook) is chain.hook for chain in found.chains
    )


def differences(found: Tables, desired: Tables) -> tuple[str, ...]:
    """One line for each object that is missing, not ours, or other than it should be; sorted."""
    lines = (
        line
        for held, wanted in zip(found.each(), desired.each(), strict=True)
        for line in _table_differences(held, wanted)
    )
    return tuple(sorted(lines))


def only_lacks_set_elements(found: Tables, desired: Tables) -> bool:
    """Whether nothing is amiss but that sets hold fewer elements than they should.

    Elements of verdict maps count as amiss: a pod without its gate is open.
    """
    return all(
        replace(held, sets=()) == replace(wanted, sets=())
        and [one.declaration for one in held.sets] == [one.declaration for one in wanted.sets]
        and all(less.elements <= full.elements for less, full in zip(held.sets, wanted.sets, strict=True))
        for held, wanted in zip(found.each(), desired.each(), strict=True)
    )


def holds_base(found: Table | None, base: Table) -> bool:
    """Whether a table has every set, map and chain of the base, with the base's rules in all chains but the slots."""
    if found is None:
        return False
    declared = declarations(found)
    chains = {chain.name: chain for chain in found.chains}
    return all(declared.get(name) == wanted for name, wanted in declarations(base).items()) and all(
        chain.name in chains
        and chains[chain.name].hook is chain.hook
        and (not chain.rules or chains[chain.name].rules == chain.rules)
        for chain in base.chains
    )


def with_base(found: Table | None, base: Table) -> Table:
    """The table that installing the base into `found` leaves: what is there stays, the base's own chains are renewed."""
    if found is None:
        return base
    chains = {chain.name: chain for chain in found.chains}
    chains |= {chain.name: chain for chain in base.chains if chain.rules or chain.name not in chains}
    held = declarations(found)
    return Table(
        family=base.family,
        name=base.name,
        sets=(*found.sets, *(one for one in base.sets if one.declaration.name not in held)),
        maps=(*found.maps, *(one for one in base.maps if one.declaration.name not in held)),
        chains=tuple(chains.values()),
    )


def _table_differences(found: Table, desired: Table) -> Iterator[str]:
    table = desired.identity
    yield from (
        f"{table}: set {line}"
        for line in _differing(found.sets, desired.sets, lambda it: it.declaration.name)
    )
    yield from (
        f"{table}: map {line}"
        for line in _differing(found.maps, desired.maps, lambda it: it.declaration.name)
    )
    yield from (
        f"{table}: chain {line}" for line in _differing(found.chains, desired.chains, lambda it: it.name)
    )


def _differing(found: Iterable[Part], desired: Iterable[Part], name: Callable[[Part], str]) -> Iterator[str]:
    held: Mapping[str, Part] = {name(part): part for part in found}
    wanted: Mapping[str, Part] = {name(part): part for part in desired}
    for key, part in wanted.items():
        if key not in held:
            yield f"{key} is missing"
        elif held[key] != part:
            yield f"{key} is other than it should be"
    yield from (f"{key} is not ours" for key in held if key not in wanted)
