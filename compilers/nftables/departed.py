"""Gates of pods that the rule set no longer names: they stay while the pod may still run.

Knows tables as they are held and as a rule set wants them. Knows nothing of how one learns that an address is still on
the node, nor of the cluster: a gate leads to the pod's own chain, and that says all there is to keep.

What stays is the pod's own chain and its class. The class asks for sets: those that the rule set still has are as the
operator says; peer sets and named-port sets that nobody tells of any more are empty, so they admit nothing, and block sets
are what their name says.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.words import Address, Direction, Family
from compilers.nftables.base import (
    CLOSED_FRAMES,
    CLOSED_LINK_LOCAL,
    CLOSED_TO_MANY,
    CLOSED_TUNNEL,
    Base,
)
from compilers.nftables.expressions import DROP, Counter, Verdict, jump
from compilers.nftables.plan import KNOWN
from compilers.nftables.references import references, targets
from compilers.nftables.render import (
    FRAMES_SLOT,
    GATE_MAP,
    LINK_LOCAL_SLOT,
    LOG_CHAIN,
    TO_MANY_SLOT,
    TUNNEL_SLOT,
    Tables,
)
from compilers.nftables.table import Chain, Element, NamedMap, NamedSet, Rule, SetKind, Table

GATES: Final[Mapping[str, Direction]] = {
    f"{gate}{family.value}": direction for direction, gate in GATE_MAP.items() for family in Family
}
"""The verdict maps that are gates, and their direction."""

MOST_KEPT: Final = 8192
"""Rules and ranges that are kept for classes that the rule set no longer has; the gates of those beyond admit nothing."""


def departing(held: Tables, desired: Tables) -> frozenset[Address]:
    """Addresses that have a gate in `held` and are no known pod's in `desired`."""
    gated = (one.elements for one in held.inet.maps if one.declaration.name in GATES)
    addresses = (key for elements in gated for key in elements if isinstance(key, IPv4Address | IPv6Address))
    return frozenset(addresses) - known(desired)


def known(tables: Tables) -> frozenset[Address]:
    """The addresses of the node's pods."""
    return frozenset(
        element
        for one in tables.inet.sets
        if one.declaration.name in KNOWN
        for element in one.elements
        if isinstance(element, IPv4Address | IPv6Address)
    )


def with_departed(desired: Tables, held: Tables, staying: frozenset[Address], base: Base) -> Tables:
    """`desired`, and the gates that these addresses have in `held`, for packets from and to pods of this node alone.

    The doors are shut as for any isolated pod. `desired` must be without gates of departed pods; it knows none of the
    addresses.
    """
    kept = _Kept.of(desired.inet, held.inet, staying)
    if not kept.gates:
        return desired
    slots = {LINK_LOCAL_SLOT: CLOSED_LINK_LOCAL, TUNNEL_SLOT: CLOSED_TUNNEL, FRAMES_SLOT: CLOSED_FRAMES}
    if any(GATES[name] is Direction.INGRESS and gates for name, gates in kept.gates.items()):
        slots[TO_MANY_SLOT] = CLOSED_TO_MANY
    inet = desired.inet
    return Tables(
        inet=replace(
            inet,
            sets=(*inet.sets, *kept.sets),
            maps=tuple(_with_gates(one, kept.gates) for one in inet.maps),
            chains=(*_shut(inet, slots), *kept.classes, *kept.pod_chains(base)),
        ),
        bridge=replace(desired.bridge, chains=tuple(_shut(desired.bridge, slots))),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What `desired` lacks of some gates. `leads_to`: for each pod chain its direction and its class, None where it is closed."""

    gates: Mapping[str, Mapping[Element, Verdict]]
    leads_to: Mapping[str, tuple[Direction, str | None]]
    classes: tuple[Chain, ...]
    sets: tuple[NamedSet, ...]

    @classmethod
    def of(cls, desired: Table, held: Table, staying: frozenset[Address]) -> "_Kept":
        gates = dict(_gates(held, staying))
        pods = {
            verdict.chain: GATES[name]
            for name, elements in gates.items()
            for verdict in elements.values()
            if verdict.chain is not None
        }
        chains = {chain.name: chain for chain in held.chains}
        there = {chain.name for chain in desired.chains}
        sets = {one.declaration.name: one for one in held.sets}
        told = {one.declaration.name for one in desired.sets}
        leads_to: dict[str, tuple[Direction, str | None]] = {}
        classes: dict[str, Chain] = {}
        needed: dict[str, NamedSet] = {}
        room = MOST_KEPT
        for pod in sorted(pods.keys() - there):
            name = _class_of(chains.get(pod))
            if name is not None and name not in there | classes.keys():
                wanted = _wanted(chains.get(name), sets, told | needed.keys())
                size = 0 if wanted is None else len(chains[name].rules) + sum(map(_size, wanted))
                if wanted is None or size > room:
                    name = None
                else:
                    room -= size
                    classes[name] = chains[name]
                    needed |= {one.declaration.name: one for one in wanted}
            leads_to[pod] = (pods[pod], name)
        return cls(gates, leads_to, tuple(classes.values()), tuple(needed.values()))

    def pod_chains(self, base: Base) -> Iterator[Chain]:
        """The pods' own chains: another pod, on another node, may have been given the address meanwhile."""
        for pod, (direction, name) in self.leads_to.items():
            rest = _closed(direction) if name is None else (Rule((jump(name),)),)
            yield Chain(pod, None, (base.elsewhere[direction], *rest))


def _gates(held: Table, staying: frozenset[Address]) -> Iterator[tuple[str, dict[Element, Verdict]]]:
    for one in held.maps:
        kept = {key: verdict for key, verdict in one.elements.items() if key in staying}
        if one.declaration.name in GATES and kept:
            yield one.declaration.name, kept


def _class_of(pod: Chain | None) -> str | None:
    """Where a pod's own chain leads in the end; None for one that says something else."""
    led = [target for rule in pod.rules[-1:] for target in targets(rule)] if pod is not None else []
    return led[-1] if led else None


def _wanted(
    held_class: Chain | None, sets: Mapping[str, NamedSet], there: Collection[str]
) -> tuple[NamedSet, ...] | None:
    """The sets that a class asks for and that are not there, as they are kept; None when that is not to be had."""
    if held_class is None:
        return None
    asked = {name for rule in held_class.rules for name in references(rule)}
    missing = sorted(asked.difference(there))
    return tuple(_untold(sets[name]) for name in missing) if sets.keys() >= set(missing) else None


def _untold(one: NamedSet) -> NamedSet:
    """A set of which nobody tells any more who is in it; ranges of a block never change."""
    return one if one.declaration.kind is SetKind.INTERVAL else replace(one, elements=frozenset())


def _size(one: NamedSet) -> int:
    return 1 + len(one.elements)


def _closed(direction: Direction) -> tuple[Rule, ...]:
    return Rule((Counter(),)), Rule((jump(LOG_CHAIN[direction]),)), Rule((DROP,))


def _with_gates(one: NamedMap, gates: Mapping[str, Mapping[Element, Verdict]]) -> NamedMap:
    return replace(one, elements={**one.elements, **gates.get(one.declaration.name, {})})


def _shut(table: Table, slots: Mapping[str, tuple[Rule, ...]]) -> Iterator[Chain]:
    for chain in table.chains:
        yield replace(chain, rules=slots[chain.name]) if chain.name in slots else chain
