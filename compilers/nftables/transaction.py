"""Commands of nft as values, a transaction as a tuple of them, and the seam to whatever carries it out.

All or nothing: a transaction either holds afterwards or has changed nothing. Nothing in its text comes from strings
of the cluster: names are checked on construction, the rest are typed values. Knows nothing of why one is sent.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from compilers.nftables.expressions import Range, Unreadable, Verdict
from compilers.nftables.table import (
    Element,
    MapDeclaration,
    Rule,
    SetDeclaration,
    Table,
    TableName,
)
from compilers.nftables.words import Hook, InvalidNftError, TableFamily, checked_name
from compilers.nftables.writer import (
    hook_text,
    in_order,
    map_words,
    range_text,
    rule_text,
    set_words,
    verdict_text,
)


@dataclass(frozen=True, slots=True)
class AddTable:
    """Create the table; one that is there stays as it is."""

    table: TableName

    def text(self) -> str:
        """Return the command on one line."""
        return f"add table {self.table}"


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Delete the table with all it holds; it must be there."""

    table: TableName

    def text(self) -> str:
        """Return the command on one line."""
        return f"delete table {self.table}"


@dataclass(frozen=True, slots=True)
class AddSet:
    """Create the set, empty; one that is there with the same type and kind stays as it is."""

    table: TableName
    declaration: SetDeclaration

    def text(self) -> str:
        """Return the command on one line."""
        words = "; ".join(set_words(self.declaration))
        return f"add set {self.table} {self.declaration.name} {{ {words}; }}"


@dataclass(frozen=True, slots=True)
class AddMap:
    """Create the verdict map, empty; one that is there with the same type stays as it is."""

    table: TableName
    declaration: MapDeclaration

    def text(self) -> str:
        """Return the command on one line."""
        return f"add map {self.table} {self.declaration.name} {{ {map_words(self.declaration)}; }}"


@dataclass(frozen=True, slots=True)
class DeleteSet:
    """Delete a set or map with its elements; it must be there and no rule may look into it."""

    table: TableName
    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("set", self.name)

    def text(self) -> str:
        """Return the command on one line. nft knows maps as sets here."""
        return f"delete set {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class FlushSet:
    """Take all elements out of a set, also those that rules put in; it must be there, and no map."""

    table: TableName
    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("set", self.name)

    def text(self) -> str:
        """Return the command on one line."""
        return f"flush set {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class MapElement:
    """One element of a verdict map."""

    key: Element
    verdict: Verdict


def _value_text(element: Element) -> str:
    # Numbers rather than names of protocols: the text needs no type to be written and no file to be read.
    if isinstance(element, Range):
        return range_text(element)
    if isinstance(element, tuple):
        return " . ".join(str(part) for part in element)
    return str(element)


def _element_text(element: Element | MapElement) -> str:
    if isinstance(element, MapElement):
        return f"{_value_text(element.key)} : {verdict_text(element.verdict)}"
    return _value_text(element)


@dataclass(frozen=True, slots=True)
class AddElements:
    """Put elements into a set (Elements) or verdict map (MapElements).

    What is there already may be added again; a map's key that leads elsewhere and an overlapping range may not.
    """

    table: TableName
    name: str
    elements: tuple[Element, ...] | tuple[MapElement, ...]

    def __post_init__(self) -> None:
        """Check the name and that there is an element."""
        _check_elements(self.name, len(self.elements))

    def text(self) -> str:
        """Return the command on one line."""
        return f"add element {self.table} {self.name} {{ {', '.join(map(_element_text, self.elements))} }}"


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Take elements out of a set or map, by key; each must be there, a range exactly as it was added."""

    table: TableName
    name: str
    elements: tuple[Element, ...]

    def __post_init__(self) -> None:
        """Check the name and that there is an element."""
        _check_elements(self.name, len(self.elements))

    def text(self) -> str:
        """Return the command on one line."""
        return f"delete element {self.table} {self.name} {{ {', '.join(map(_value_text, self.elements))} }}"


def _check_elements(name: str, count: int) -> None:
    checked_name("set", name)
    if count == 0:
        raise InvalidNftError(f"elements of {name!r}", "there are none")


@dataclass(frozen=True, slots=True)
class AddChain:
    """Create the chain, empty; one that is there on the same hook keeps its rules."""

    table: TableName
    name: str
    hook: Hook | None = None

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("chain", self.name)

    def text(self) -> str:
        """Return the command on one line."""
        hook = f" {{ {hook_text(self.hook)} }}" if self.hook is not None else ""
        return f"add chain {self.table} {self.name}{hook}"


@dataclass(frozen=True, slots=True)
class FlushChain:
    """Take all rules out of the chain; it must be there."""

    table: TableName
    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("chain", self.name)

    def text(self) -> str:
        """Return the command on one line."""
        return f"flush chain {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class DeleteChain:
    """Delete the chain with its rules; it must be there and nothing may lead to it."""

    table: TableName
    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("chain", self.name)

    def text(self) -> str:
        """Return the command on one line."""
        return f"delete chain {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class AddRule:
    """Put a rule at the end of the chain; what it refers to must be there."""

    table: TableName
    chain: str
    rule: Rule

    def __post_init__(self) -> None:
        """Check the name; someone else's words are never sent."""
        checked_name("chain", self.chain)
        if any(isinstance(one, Unreadable) for one in self.rule.expressions):
            raise InvalidNftError(f"rule of {self.chain!r}", "is not in the language and cannot be sent")

    def text(self) -> str:
        """Return the command on one line."""
        return f"add rule {self.table} {self.chain} {rule_text(self.rule)}"


Command = (
    AddTable
    | DeleteTable
    | AddSet
    | AddMap
    | DeleteSet
    | FlushSet
    | AddElements
    | DeleteElements
    | AddChain
    | FlushChain
    | DeleteChain
    | AddRule
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Commands that hold together or not at all, in order. An empty one changes nothing."""

    commands: tuple[Command, ...] = ()

    def text(self) -> str:
        """Return the transaction as nft text, one command a line: line N is command N - 1."""
        return "".join(f"{command.text()}\n" for command in self.commands)


class Rejection(enum.Enum):
    """Why a transaction did not hold."""

    MISSING = "missing"
    EXISTS = "exists"
    BUSY = "busy"
    INVALID = "invalid"
    SHORT = "short"
    """The kernel has no memory or no buffer for it now."""
    FULL = "full"
    """A set has no room."""
    OTHER = "other"


class NftRejectedError(Exception):
    """A transaction was refused and has changed nothing.

    `index` and `command` say which command, when that is known; `message` is the kernel's or nft's sentence.
    """

    def __init__(
        self, reason: Rejection, message: str, index: int | None = None, command: str | None = None
    ) -> None:
        """`command` is its text."""
        where = f" at command {index} ({command})" if command is not None else ""
        super().__init__(f"{reason.value}: {message}{where}")
        self.reason = reason
        self.message = message
        self.index = index
        self.command = command


class Nft(Protocol):
    """Whatever carries transactions out: the kernel of one network namespace, or the fake of the tests."""

    def run(self, transaction: Transaction) -> None:
        """Carry the transaction out. Raises NftRejectedError; then nothing has changed.

        No packet meets two: one that was under way when packets began to be judged otherwise has been judged before
        the next begins.
        """

    def check(self, transaction: Transaction) -> None:
        """Raise NftRejectedError if `run` would now; change nothing."""

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        """Return the table as it is, without counters and what rules remembered; None when there is none.

        Rules outside the language are Unreadable. Raises ReadError for other objects outside it.
        """


def install(base: Table) -> Transaction:
    """Return the one transaction that creates the static base of a table or establishes it again.

    Sets, maps and chains that are there stay; chains with rules in the base are emptied and filled anew; chains
    without (slots, whose rules belong to someone else) are created when absent and never emptied.
    """
    return Transaction(tuple(_installing(base)))


def _installing(base: Table) -> Iterator[Command]:
    table = base.identity
    yield AddTable(table)
    for named_map in base.maps:
        yield AddMap(table, named_map.declaration)
    for named_set in base.sets:
        yield AddSet(table, named_set.declaration)
    for chain in base.chains:
        yield AddChain(table, chain.name, chain.hook)
    for named_set in base.sets:
        if named_set.elements:
            elements = tuple(in_order(named_set.declaration.key, named_set.elements))
            yield AddElements(table, named_set.declaration.name, elements)
    for named_map in base.maps:
        if named_map.elements:
            keys = in_order(named_map.declaration.key, named_map.elements)
            leads = tuple(MapElement(key, named_map.elements[key]) for key in keys)
            yield AddElements(table, named_map.declaration.name, leads)
    for chain in base.chains:
        if chain.rules:
            yield FlushChain(table, chain.name)
        for rule in chain.rules:
            yield AddRule(table, chain.name, rule)
