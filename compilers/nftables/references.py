"""What rules refer to, and whether it is there: chains by verdicts, sets and maps by name.

Knows one table at a time. Knows nothing of text, of the kernel, or of what a set holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compilers.nftables.expressions import AddToSet, Expression, Match, SetReference, Verdict, VerdictMap
from compilers.nftables.table import MapDeclaration, Rule, SetDeclaration, SetKind, Table, fields_of
from compilers.nftables.words import FIELD_TYPES, KeyType

Declaration = SetDeclaration | MapDeclaration


@dataclass(frozen=True, slots=True)
class Problem:
    """A reference that does not hold: where it stands, what it names, why not."""

    where: str
    target: str
    reason: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.where}: {self.target} {self.reason}"


def key_of(expression: Expression) -> tuple[KeyType, ...]:
    """Return the key types of the fields that an expression reads."""
    return tuple(FIELD_TYPES[one] for one in fields_of(expression))


def reference(expression: Expression) -> str | None:
    """Return the set or map that an expression looks into or adds to."""
    match expression:
        case Match(operand=SetReference(name)) | VerdictMap(name=name) | AddToSet(name=name):
            return name
        case _:
            return None


def references(rule: Rule) -> Iterator[str]:
    """Yield the sets and maps that a rule looks into or adds to, in order."""
    for expression in rule.expressions:
        name = reference(expression)
        if name is not None:
            yield name


def targets(rule: Rule) -> Iterator[str]:
    """Yield the chains that a rule jumps or goes to by itself (those of its verdict map are not in the rule)."""
    for expression in rule.expressions:
        if isinstance(expression, Verdict) and expression.chain is not None:
            yield expression.chain


def misuse(expression: Expression, declared: Mapping[str, Declaration]) -> str | None:
    """Return why the set or map that an expression names cannot serve it, or None when it can."""
    name = reference(expression)
    if name is None:
        return None
    declaration = declared.get(name)
    if declaration is None:
        return "does not exist"
    if declaration.key != key_of(expression):
        return f"has the type {' . '.join(one.value for one in declaration.key)}"
    if isinstance(expression, VerdictMap) is not isinstance(declaration, MapDeclaration):
        return "is used as a map by vmap and as a set by the others"
    if isinstance(expression, AddToSet) and not (
        isinstance(declaration, SetDeclaration) and declaration.kind is SetKind.REMEMBERING
    ):
        return "is not a set that remembers"
    return None


def declarations(table: Table) -> dict[str, Declaration]:
    """Return the declarations of a table's sets and maps by name."""
    declared: dict[str, Declaration] = {one.declaration.name: one.declaration for one in table.sets}
    declared.update((one.declaration.name, one.declaration) for one in table.maps)
    return declared


def problems(table: Table) -> Iterator[Problem]:
    """Yield each reference of a table that does not resolve or does not fit, in the table's order."""
    declared = declarations(table)
    callable_chains = {one.name for one in table.chains if one.hook is None}
    for one in table.maps:
        for verdict in one.elements.values():
            if verdict.chain is not None and verdict.chain not in callable_chains:
                yield Problem(f"map {one.declaration.name}", verdict.chain, "is no chain to jump to")
    for chain in table.chains:
        for index, rule in enumerate(chain.rules):
            where = f"chain {chain.name} rule {index}"
            for target in targets(rule):
                if target not in callable_chains:
                    yield Problem(where, target, "is no chain to jump to")
            for expression in rule.expressions:
                reason = misuse(expression, declared)
                if reason is not None:
                    yield Problem(where, f"@{reference(expression)}", reason)
