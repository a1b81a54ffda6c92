"""Walks tables in memory with a packet and says which chain and rule decided.

Follows nft: `jump` comes back to the next rule, `goto` to where its chain would have come back to, the end of a base
chain is its policy (accept), a verdict map without the key goes on. Knows nothing of what the rules are for.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from compilers.nftables.expressions import DROP, Reset, Verdict, VerdictKind, VerdictMap
from compilers.nftables.matching import Contents, Key, Test, all_contents, key_of_fields, plain_key, test_of
from compilers.nftables.packet import Laid, Packet, PacketHook, laid_out
from compilers.nftables.table import Chain, Rule, Table, TableName
from compilers.nftables.words import Hook, InvalidNftError, TableFamily
from compilers.nftables.writer import rule_text, verdict_text


class Decision(enum.Enum):
    """What becomes of the packet at this hook."""

    ACCEPT = "accept"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that matched: where it stands (index from 0), its text, and what it did (`continue` if nothing)."""

    table: TableName
    chain: str
    index: int
    rule: str
    action: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The decision, every rule that matched on the way, and who decided.

    `chain` and `rule` are the deciding rule's; `rule` is None when a base chain ended and its policy held, both are
    None when no base chain is attached to the hook.
    """

    decision: Decision
    steps: tuple[Step, ...]
    chain: str | None
    rule: int | None


@dataclass(slots=True)
class _Rule:
    tests: tuple[Test, ...]
    verdict: Verdict | None
    lookup: Key | None
    map_name: str
    map: "_Map" = field(default_factory=dict)
    next: "_Chain | None" = None


@dataclass(slots=True)
class _Chain:
    name: str
    hook: Hook | None
    source: tuple[Rule, ...]
    rules: list[_Rule]


_Map = dict[object, tuple[Verdict, _Chain | None]]


@dataclass(slots=True)
class _Table:
    identity: TableName
    chains: dict[str, _Chain]


HOOKS: Final = {
    PacketHook.FORWARD: (TableFamily.INET, Hook.FORWARD),
    PacketHook.INPUT: (TableFamily.INET, Hook.INPUT),
    PacketHook.BRIDGE_FORWARD: (TableFamily.BRIDGE, Hook.FORWARD),
}
FINAL: Final = {VerdictKind.ACCEPT: Decision.ACCEPT, VerdictKind.DROP: Decision.DROP}


def _prepared_rule(rule: Rule, sets: dict[str, Contents]) -> _Rule:
    last = rule.expressions[-1]
    body = rule.expressions[:-1] if isinstance(last, Verdict | VerdictMap | Reset) else rule.expressions
    if isinstance(last, Reset):
        # What its sender is told besides does not let the packet through.
        last = DROP
    tests = tuple(test for test in (test_of(one, sets) for one in body) if test is not None)
    if isinstance(last, VerdictMap):
        return _Rule(tests, None, key_of_fields(last.fields), last.name)
    return _Rule(tests, last if isinstance(last, Verdict) else None, None, "")


def _prepared_chain(chain: Chain, sets: dict[str, Contents]) -> _Chain:
    return _Chain(chain.name, chain.hook, chain.rules, [_prepared_rule(one, sets) for one in chain.rules])


def _prepared(table: Table) -> _Table:
    sets = all_contents(table)
    chains = {chain.name: _prepared_chain(chain, sets) for chain in table.chains}

    def target(verdict: Verdict) -> _Chain | None:
        if verdict.chain is None:
            return None
        if verdict.chain not in chains:
            raise InvalidNftError(f"chain {verdict.chain}", "is led to and does not exist")
        return chains[verdict.chain]

    maps: dict[str, _Map] = {
        one.declaration.name: {
            plain_key(key): (verdict, target(verdict)) for key, verdict in one.elements.items()
        }
        for one in table.maps
    }
    for chain in chains.values():
        for rule in chain.rules:
            if rule.verdict is not None:
                rule.next = target(rule.verdict)
            if rule.lookup is not None:
                if rule.map_name not in maps:
                    raise InvalidNftError(f"@{rule.map_name}", "is not a map of this table")
                rule.map = maps[rule.map_name]
    return _Table(table.identity, chains)


class _Walk:
    """One packet's way through one table. Keeps who decided; keeps steps only when given a list."""

    __slots__ = ("chain", "identity", "index", "laid", "steps")

    def __init__(self, identity: TableName, laid: Laid, steps: list[Step] | None) -> None:
        self.identity = identity
        self.laid = laid
        self.steps = steps
        self.chain: str | None = None
        self.index: int | None = None

    def through(self, chain: _Chain) -> Decision | None:
        """Return the decision made in this chain or below, None when it ended or returned."""
        laid = self.laid
        for index, rule in enumerate(chain.rules):
            for test in rule.tests:
                if not test(laid):
                    break
            else:
                verdict, following = rule.verdict, rule.next
                if rule.lookup is not None:
                    found = rule.map.get(rule.lookup(laid))
                    if found is None:
                        continue
                    verdict, following = found
                if self.steps is not None:
                    self._note(chain, index, verdict)
                if verdict is None:
                    continue
                if following is not None:
                    decision = self.through(following)
                    if decision is not None or verdict.kind is VerdictKind.GOTO:
                        return decision
                    continue
                if verdict.kind is VerdictKind.RETURN:
                    return None
                self.chain, self.index = chain.name, index
                return FINAL[verdict.kind]
        return None

    def _note(self, chain: _Chain, index: int, verdict: Verdict | None) -> None:
        action = verdict_text(verdict) if verdict is not None else "continue"
        step = Step(self.identity, chain.name, index, rule_text(chain.source[index]), action)
        if self.steps is not None:
            self.steps.append(step)


class Walker:
    """Tables prepared for many packets. Raises InvalidNftError for a reference that does not resolve.

    `limit rate` counts as within its rate and `limit rate over` as not exceeded; sets that rules fill are empty.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        """Prepare the lookups of all tables; base chains of one hook are walked in the order of `tables`."""
        prepared = [_prepared(table) for table in tables]
        self._base = {
            at: tuple(self._base_chains(prepared, family, hook)) for at, (family, hook) in HOOKS.items()
        }

    @staticmethod
    def _base_chains(
        tables: list[_Table], family: TableFamily, hook: Hook
    ) -> Iterator[tuple[TableName, _Chain]]:
        for table in tables:
            if table.identity.family is family:
                for chain in table.chains.values():
                    if chain.hook is hook:
                        yield table.identity, chain

    def verdict(self, packet: Packet) -> Decision:
        """Return what becomes of the packet, without the way there."""
        laid = laid_out(packet)
        for identity, chain in self._base[packet.hook]:
            if _Walk(identity, laid, None).through(chain) is Decision.DROP:
                return Decision.DROP
        return Decision.ACCEPT

    def trace(self, packet: Packet) -> Trace:
        """Return what becomes of the packet, and why."""
        laid = laid_out(packet)
        steps: list[Step] = []
        deciding: tuple[str | None, int | None] = (None, None)
        for identity, chain in self._base[packet.hook]:
            walk = _Walk(identity, laid, steps)
            decision = walk.through(chain)
            # Accepting ends this base chain only; the next one of the hook still judges.
            deciding = (walk.chain or chain.name, walk.index)
            if decision is Decision.DROP:
                return Trace(Decision.DROP, tuple(steps), *deciding)
        return Trace(Decision.ACCEPT, tuple(steps), *deciding)


def trace(tables: Iterable[Table], packet: Packet) -> Trace:
    """Walk one packet; for many, keep a Walker."""
    return Walker(tables).trace(packet)
