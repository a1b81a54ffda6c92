"""nftables in memory: the same commands, the same refusals, no kernel.

Knows what the kernel accepts, found by trying (the tests run the same cases against both). Stricter in one thing: what
the typed language does not hold is invalid here even where nft would guess, such as a number for an address.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from compilers.nftables.expressions import (
    AddToSet,
    Expression,
    Match,
    Range,
    SetReference,
    Verdict,
    VerdictMap,
)
from compilers.nftables.references import misuse, reference, references, targets
from compilers.nftables.table import (
    Chain,
    Element,
    MapDeclaration,
    NamedMap,
    NamedSet,
    Rule,
    SetDeclaration,
    SetKind,
    Table,
    TableName,
    checked_element,
    first_overlap,
)
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    MapElement,
    NftRejectedError,
    Rejection,
    Transaction,
)
from compilers.nftables.words import Hook, InvalidNftError, TableFamily

# Chains that may be walked one inside the other below a base chain (NFT_JUMP_STACK_SIZE is 16).
DEPTH: Final = 15


class _RefusedError(Exception):
    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class _Set:
    declaration: SetDeclaration | MapDeclaration
    elements: dict[Element, Verdict | None] = field(default_factory=dict)

    def copy(self) -> Self:
        return type(self)(self.declaration, dict(self.elements))


@dataclass(slots=True)
class _Chain:
    hook: Hook | None
    rules: list[Rule] = field(default_factory=list)

    def copy(self) -> Self:
        return type(self)(self.hook, list(self.rules))


@dataclass(slots=True)
class _Contents:
    """One table. Sets and maps share a name space."""

    sets: dict[str, _Set] = field(default_factory=dict)
    chains: dict[str, _Chain] = field(default_factory=dict)

    def copy(self) -> Self:
        return type(self)(
            {name: one.copy() for name, one in self.sets.items()},
            {name: one.copy() for name, one in self.chains.items()},
        )

    def declared(self) -> dict[str, SetDeclaration | MapDeclaration]:
        return {name: one.declaration for name, one in self.sets.items()}

    def set_named(self, name: str) -> _Set:
        if name not in self.sets:
            raise _RefusedError(Rejection.MISSING, f"no set or map {name}")
        return self.sets[name]

    def chain_named(self, name: str) -> _Chain:
        if name not in self.chains:
            raise _RefusedError(Rejection.MISSING, f"no chain {name}")
        return self.chains[name]

    def check_target(self, verdict: Verdict) -> None:
        if verdict.chain is not None and self.chain_named(verdict.chain).hook is not None:
            raise _RefusedError(Rejection.INVALID, f"{verdict.chain} is a base chain")

    def leads_to(self, name: str) -> bool:
        """Tell whether an element or a rule leads to the chain, one of its own included."""
        from_maps = (verdict for one in self.sets.values() for verdict in one.elements.values())
        if any(verdict is not None and verdict.chain == name for verdict in from_maps):
            return True
        return any(name in targets(rule) for chain in self.chains.values() for rule in chain.rules)

    def next_chains(self, name: str) -> Iterator[str]:
        for rule in self.chains[name].rules:
            yield from targets(rule)
            for expression in rule.expressions:
                if isinstance(expression, VerdictMap):
                    for verdict in self.sets[expression.name].elements.values():
                        if verdict is not None and verdict.chain is not None:
                            yield verdict.chain

    def check_depth(self) -> None:
        """Refuse what a base chain could walk too deep or for ever; loops nobody can reach are accepted."""
        level = {name for name, chain in self.chains.items() if chain.hook is not None}
        for _ in range(DEPTH + 1):
            level = {following for name in level for following in self.next_chains(name)}
        if level:
            raise _RefusedError(Rejection.INVALID, "Too many links")


Tables = dict[TableName, _Contents]


def _contents(tables: Tables, name: TableName) -> _Contents:
    if name not in tables:
        raise _RefusedError(Rejection.MISSING, f"no table {name}")
    return tables[name]


def _add_table(tables: Tables, command: AddTable) -> None:
    tables.setdefault(command.table, _Contents())


def _delete_table(tables: Tables, command: DeleteTable) -> None:
    _contents(tables, command.table)
    del tables[command.table]


def _shape(declaration: SetDeclaration | MapDeclaration) -> tuple[object, ...]:
    # Size and timeout are not compared: those of the later declaration hold (seen on 6.18).
    return (type(declaration), declaration.key, getattr(declaration, "kind", None))


def _add_set(tables: Tables, command: AddSet | AddMap) -> None:
    sets = _contents(tables, command.table).sets
    present = sets.setdefault(command.declaration.name, _Set(command.declaration))
    if _shape(present.declaration) != _shape(command.declaration):
        raise _RefusedError(Rejection.EXISTS, f"{command.declaration.name} has another type")
    if isinstance(command.declaration, SetDeclaration) and command.declaration.size is not None:
        present.declaration = command.declaration


def _delete_set(tables: Tables, command: DeleteSet) -> None:
    contents = _contents(tables, command.table)
    contents.set_named(command.name)
    if any(command.name in references(rule) for chain in contents.chains.values() for rule in chain.rules):
        raise _RefusedError(Rejection.BUSY, f"a rule looks into {command.name}")
    del contents.sets[command.name]


def _flush_set(tables: Tables, command: FlushSet) -> None:
    target = _contents(tables, command.table).set_named(command.name)
    if isinstance(target.declaration, MapDeclaration):
        raise _RefusedError(Rejection.MISSING, f"{command.name} is a map")
    target.elements.clear()


def _add_elements(tables: Tables, command: AddElements) -> None:
    contents = _contents(tables, command.table)
    target = contents.set_named(command.name)
    declaration = target.declaration
    for given in command.elements:
        if isinstance(given, MapElement) is not isinstance(declaration, MapDeclaration):
            raise _RefusedError(
                Rejection.INVALID, f"{command.name}: verdicts belong into maps, and only there"
            )
        key, verdict = (given.key, given.verdict) if isinstance(given, MapElement) else (given, None)
        checked_element(command.name, declaration.key, getattr(declaration, "kind", SetKind.PLAIN), key)
        if verdict is not None:
            contents.check_target(verdict)
        if target.elements.setdefault(key, verdict) != verdict:
            raise _RefusedError(Rejection.EXISTS, f"{command.name}: {key} leads elsewhere")
    if first_overlap(frozenset(one for one in target.elements if isinstance(one, Range))) is not None:
        raise _RefusedError(Rejection.EXISTS, f"{command.name}: ranges overlap")
    size = getattr(declaration, "size", None)
    if size is not None and len(target.elements) > size:
        raise _RefusedError(Rejection.FULL, f"{command.name} is full")


def _delete_elements(tables: Tables, command: DeleteElements) -> None:
    target = _contents(tables, command.table).set_named(command.name)
    declaration = target.declaration
    for key in command.elements:
        checked_element(command.name, declaration.key, getattr(declaration, "kind", SetKind.PLAIN), key)
        if key not in target.elements:
            raise _RefusedError(Rejection.MISSING, f"{command.name}: no element {key}")
        del target.elements[key]


def _add_chain(tables: Tables, command: AddChain) -> None:
    chains = _contents(tables, command.table).chains
    present = chains.setdefault(command.name, _Chain(command.hook))
    if command.hook is not None and present.hook is not command.hook:
        raise _RefusedError(Rejection.INVALID, f"chain {command.name} cannot change its hook")


def _flush_chain(tables: Tables, command: FlushChain) -> None:
    _contents(tables, command.table).chain_named(command.name).rules.clear()


def _delete_chain(tables: Tables, command: DeleteChain) -> None:
    contents = _contents(tables, command.table)
    contents.chain_named(command.name)
    if contents.leads_to(command.name):
        raise _RefusedError(Rejection.BUSY, f"something leads to chain {command.name}")
    del contents.chains[command.name]


def _check_expression(contents: _Contents, expression: Expression) -> None:
    match expression:
        case Verdict():
            contents.check_target(expression)
        case Match(operand=SetReference(name)) | VerdictMap(name=name) | AddToSet(name=name):
            contents.set_named(name)
            reason = misuse(expression, contents.declared())
            if reason is not None:
                raise _RefusedError(Rejection.INVALID, f"@{reference(expression)} {reason}")
        case _:
            pass


def _add_rule(tables: Tables, command: AddRule) -> None:
    contents = _contents(tables, command.table)
    chain = contents.chain_named(command.chain)
    for expression in command.rule.expressions:
        _check_expression(contents, expression)
    chain.rules.append(command.rule)


HANDLERS: Final[Mapping[type[Command], Callable[[Tables, Any], None]]] = {
    AddTable: _add_table,
    DeleteTable: _delete_table,
    AddSet: _add_set,
    AddMap: _add_set,
    DeleteSet: _delete_set,
    AddElements: _add_elements,
    DeleteElements: _delete_elements,
    AddChain: _add_chain,
    FlushChain: _flush_chain,
    FlushSet: _flush_set,
    DeleteChain: _delete_chain,
    AddRule: _add_rule,
}


class FakeNft:
    """`Nft` in memory, empty at first. Each instance is a network namespace of its own."""

    def __init__(self) -> None:
        """Begin without tables."""
        self._tables: Tables = {}

    def run(self, transaction: Transaction) -> None:
        """Carry the transaction out, or raise NftRejectedError and stay as it was."""
        self._tables = self._after(transaction)

    def check(self, transaction: Transaction) -> None:
        """Raise NftRejectedError if `run` would."""
        self._after(transaction)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        """Return the table, or None when there is none."""
        contents = self._tables.get(TableName(family, name))
        if contents is None:
            return None
        sets, maps = [], []
        for one in contents.sets.values():
            if isinstance(one.declaration, SetDeclaration):
                remembered = one.declaration.kind is SetKind.REMEMBERING
                sets.append(NamedSet(one.declaration, frozenset() if remembered else frozenset(one.elements)))
            else:
                leads = {key: verdict for key, verdict in one.elements.items() if verdict is not None}
                maps.append(NamedMap(one.declaration, leads))
        chains = tuple(Chain(key, one.hook, tuple(one.rules)) for key, one in contents.chains.items())
        return Table(family, name, tuple(sets), tuple(maps), chains)

    def _after(self, transaction: Transaction) -> Tables:
        touched = {command.table for command in transaction.commands}
        tables = {name: one.copy() if name in touched else one for name, one in self._tables.items()}
        for index, command in enumerate(transaction.commands):
            try:
                HANDLERS[type(command)](tables, command)
            except _RefusedError as error:
                raise NftRejectedError(error.reason, str(error), index, command.text()) from None
            except InvalidNftError as error:
                raise NftRejectedError(Rejection.INVALID, str(error), index, command.text()) from None
        for name in touched & tables.keys():
            try:
                tables[name].check_depth()
            except _RefusedError as error:
                raise NftRejectedError(error.reason, str(error)) from None
        return tables
