"""Values to text: the canonical form, which is what `nft -s list table` of 1.0.6 prints.

Writes only what the typed values hold, so no string of the cluster becomes syntax. Knows nothing of commands
(transaction.py) and reads nothing.
"""

import functools
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from typing import Final

from compilers.nftables.expressions import (
    AddToSet,
    AnonymousSet,
    Comparison,
    Counter,
    Expression,
    Limit,
    LimitMode,
    Log,
    Match,
    Operand,
    Range,
    Reset,
    SetReference,
    States,
    Unreadable,
    Verdict,
    VerdictMap,
)
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
)
from compilers.nftables.words import FIELD_TYPES, KEY_WORDS, ConntrackState, Field, Hook, KeyType, Scalar

QUOTED: Final = frozenset({KeyType.INTERFACE})
SPANS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def scalar_text(key: KeyType, value: Scalar) -> str:
    """Return one value as nft prints it: names for protocols and types, quotes around interface names."""
    if isinstance(value, int):
        unnamed = f"0x{value:04x}" if key is KeyType.ETHER else str(value)
        return KEY_WORDS[key].names.get(value, unnamed)
    return f'"{value}"' if key in QUOTED else str(value)


def number(value: Scalar) -> int:
    """Return the value as the number its bytes form, by which nft orders."""
    return int.from_bytes(value.encode()) if isinstance(value, str) else int(value)


def range_text(value: Range) -> str:
    """Return an element of an interval set: the address alone, a prefix where it is one, else FIRST-LAST."""
    first, last = value.first, value.last
    if first == last:
        return str(first)
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        blocks: list[IPv4Network] | list[IPv6Network] = list(summarize_address_range(first, last))
    elif isinstance(first, IPv6Address) and isinstance(last, IPv6Address):
        blocks = list(summarize_address_range(first, last))
    else:
        blocks = []
    if len(blocks) == 1:
        return str(blocks[0])
    return f"{first}-{last}"


def element_text(key: tuple[KeyType, ...], element: Element) -> str:
    """Return an element of a set, or the key of a map's element."""
    if isinstance(element, Range):
        return range_text(element)
    if isinstance(element, tuple):
        return " . ".join(scalar_text(part, value) for part, value in zip(key, element, strict=True))
    return scalar_text(key[0], element)


def _place(key: tuple[KeyType, ...], element: Element) -> tuple[int, ...]:
    if isinstance(element, Range):
        return (int(element.first),)
    if not isinstance(element, tuple):
        return (int(element),)
    # nft orders concatenations by their bytes read from the end (each part padded to four).
    packed = b"".join(
        int(value).to_bytes(KEY_WORDS[part].width).ljust(-(-KEY_WORDS[part].width // 4) * 4, b"\0")
        for part, value in zip(key, element, strict=True)
    )
    return (int.from_bytes(packed, "little"),)


def in_order(key: tuple[KeyType, ...], elements: Iterable[Element]) -> list[Element]:
    """Return elements in the order in which nft lists them."""
    return sorted(elements, key=functools.partial(_place, key))


def _anonymous_text(key: KeyType, operand: AnonymousSet) -> str:
    values = list(operand.values)
    wildcard = any(isinstance(one, str) and one.endswith("*") for one in values)
    if key is KeyType.INTERFACE and not wildcard:
        # Without a wildcard it is no interval set, and nft orders names by their bytes read from the end.
        values.sort(key=lambda one: int.from_bytes(str(one).encode(), "little"))
    elif key is KeyType.INTERFACE:
        values.sort(key=lambda one: str(one).rstrip("*").encode().ljust(16, b"\0"))
    else:
        values.sort(key=number)
    return "{ " + ", ".join(scalar_text(key, one) for one in values) + " }"


def _operand_text(key: KeyType, operand: Operand) -> str:
    match operand:
        case SetReference(name):
            return f"@{name}"
        case States(states):
            return ",".join(one.value for one in ConntrackState if one in states)
        case AnonymousSet():
            return _anonymous_text(key, operand)
        case Range(first, last):
            return f"{first}-{last}"
        case IPv4Network() | IPv6Network():
            return str(operand)
        case _:
            return scalar_text(key, operand)


def _fields_text(fields: tuple[Field, ...]) -> str:
    return " . ".join(one.value for one in fields)


def verdict_text(verdict: Verdict) -> str:
    """Return `accept`, `jump CHAIN`, …."""
    return verdict.kind.value if verdict.chain is None else f"{verdict.kind.value} {verdict.chain}"


def expression_text(expression: Expression) -> str:
    """Return one expression as nft prints it without state."""
    match expression:
        case Match(fields, operand, comparison):
            negation = "!= " if comparison is Comparison.NOT_EQUAL else ""
            return f"{_fields_text(fields)} {negation}{_operand_text(FIELD_TYPES[fields[0]], operand)}"
        case VerdictMap(fields, name):
            return f"{_fields_text(fields)} vmap @{name}"
        case Verdict():
            return verdict_text(expression)
        case Counter():
            return "counter"
        case Limit(per_second, mode, burst):
            over = "over " if mode is LimitMode.OVER else ""
            # nft leaves out its default burst.
            return f"limit rate {over}{per_second}/second" + ("" if burst == 5 else f" burst {burst} packets")
        case Log(prefix, group, snaplen):
            return f'log prefix "{prefix}" group {group} snaplen {snaplen}'
        case Reset():
            return "reject with tcp reset"
        case AddToSet(name, fields):
            return f"add @{name} {{ {_fields_text(fields)} }}"
        case Unreadable(text):
            return text


def rule_text(rule: Rule) -> str:
    """Return a rule on one line."""
    return " ".join(expression_text(one) for one in rule.expressions)


def span_text(seconds: int) -> str:
    """Return a time as nft prints it: `5s`, `1m5s`, `1d2h`."""
    text = ""
    for length, unit in SPANS:
        count, seconds = divmod(seconds, length)
        text += f"{count}{unit}" if count else ""
    return text


def set_words(declaration: SetDeclaration) -> Iterator[str]:
    """Yield the statements inside a set's declaration."""
    yield "type " + " . ".join(one.value for one in declaration.key)
    if declaration.size is not None:
        yield f"size {declaration.size}"
    if declaration.kind is not SetKind.PLAIN:
        yield f"flags {declaration.kind.value}"
    if declaration.timeout is not None:
        yield f"timeout {span_text(declaration.timeout)}"


def map_words(declaration: MapDeclaration) -> str:
    """Return the statement inside a map's declaration."""
    return "type " + " . ".join(one.value for one in declaration.key) + " : verdict"


def hook_text(hook: Hook) -> str:
    """Return the statement that makes a chain a base chain."""
    return f"type filter hook {hook.value} priority filter; policy accept;"


def _block(head: str, lines: Iterable[str]) -> str:
    return f"\t{head} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _elements_lines(texts: Iterable[str]) -> list[str]:
    joined = ",\n\t\t\t     ".join(texts)
    return [f"elements = {{ {joined} }}"] if joined else []


def _set_text(one: NamedSet) -> str:
    key = one.declaration.key
    elements = (element_text(key, element) for element in in_order(key, one.elements))
    return _block(f"set {one.declaration.name}", [*set_words(one.declaration), *_elements_lines(elements)])


def _map_text(one: NamedMap) -> str:
    key = one.declaration.key
    elements = (
        f"{element_text(key, element)} : {verdict_text(one.elements[element])}"
        for element in in_order(key, one.elements)
    )
    return _block(f"map {one.declaration.name}", [map_words(one.declaration), *_elements_lines(elements)])


def _chain_text(chain: Chain) -> str:
    hook = [hook_text(chain.hook)] if chain.hook is not None else []
    return _block(f"chain {chain.name}", [*hook, *(rule_text(rule) for rule in chain.rules)])


def write(table: Table) -> str:
    """Return the table as text that nft loads, and prints again but for white space."""
    blocks = [_map_text(one) for one in table.maps]
    blocks += [_set_text(one) for one in table.sets]
    blocks += [_chain_text(one) for one in table.chains]
    return f"table {table.identity} {{\n" + "\n".join(blocks) + "}\n"
