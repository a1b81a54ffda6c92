"""Matches of rules as functions of a laid-out packet, with set lookups prepared once a table.

The comparisons of the trace; which rule is asked when is trace.py's.
"""

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
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
    SetReference,
    States,
)
from compilers.nftables.packet import PLACE, Laid
from compilers.nftables.table import Element, NamedSet, SetKind, Table
from compilers.nftables.words import ConntrackState, Field, InvalidNftError

Value = int | str | ConntrackState
Test = Callable[[Laid], bool]
Key = Callable[[Laid], object]

ABSENT: Final = object()
"""What a key function returns for a packet that lacks one of the fields; it is in no set."""


def key_of_fields(fields: tuple[Field, ...]) -> Key:
    """Return the function that takes the key of these fields out of a packet, or ABSENT."""
    places = [PLACE[field] for field in fields]
    if len(places) == 1:
        (place,) = places

        def single(laid: Laid) -> object:
            value = laid[place]
            return ABSENT if value is None else value

        return single

    def several(laid: Laid) -> object:
        key = tuple([laid[place] for place in places])
        return ABSENT if None in key else key

    return several


def plain_key(element: Element) -> object:
    """Return an element of a plain set or map as the key functions return keys: addresses as numbers."""
    if isinstance(element, tuple):
        return tuple([int(part) for part in element])
    if isinstance(element, Range):
        raise InvalidNftError("set", "a range stands in an interval set only")
    return int(element)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Disjoint ranges; `in` finds a number among them in logarithmic time."""

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]

    @classmethod
    def of(cls, elements: frozenset[Element]) -> "Ranges":
        """Prepare the ranges of an interval set."""
        pairs = sorted((int(one.first), int(one.last)) for one in elements if isinstance(one, Range))
        return cls(tuple(first for first, _ in pairs), tuple(last for _, last in pairs))

    def __contains__(self, value: object) -> bool:
        """Tell whether a number lies in one of the ranges."""
        if not isinstance(value, int):
            return False
        index = bisect.bisect_right(self.firsts, value) - 1
        return index >= 0 and value <= self.lasts[index]


Contents = frozenset[object] | Ranges


def contents_of(named: NamedSet) -> Contents:
    """Return the elements of a set, prepared for lookups by key."""
    if named.declaration.kind is SetKind.INTERVAL:
        return Ranges.of(named.elements)
    return frozenset(map(plain_key, named.elements))


def all_contents(table: Table) -> dict[str, Contents]:
    """Return the prepared contents of every set of a table."""
    return {one.declaration.name: contents_of(one) for one in table.sets}


def _interface_test(patterns: tuple[str, ...]) -> Callable[[object], bool]:
    names = frozenset(one for one in patterns if not one.endswith("*"))
    starts = tuple(one.removesuffix("*") for one in patterns if one.endswith("*"))
    return lambda value: value in names or (isinstance(value, str) and value.startswith(starts))


def _within(first: int, last: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and first <= value <= last


def _membership(operand: Operand, sets: Mapping[str, Contents]) -> Callable[[object], bool]:
    match operand:
        case SetReference(name):
            if name not in sets:
                raise InvalidNftError(f"@{name}", "is not a set of this table")
            return sets[name].__contains__
        case States(states):
            return states.__contains__
        case AnonymousSet(values) if isinstance(values[0], str):
            return _interface_test(tuple(str(one) for one in values))
        case AnonymousSet(values):
            return frozenset(int(one) for one in values).__contains__
        case Range(first, last):
            return _within(int(first), int(last))
        case IPv4Network() | IPv6Network():
            return _within(int(operand[0]), int(operand[-1]))
        case str():
            return _interface_test((operand,))
        case _:
            return int(operand).__eq__


def test_of(expression: Expression, sets: Mapping[str, Contents]) -> Test | None:
    """Return the test of an expression, or None when it lets every packet through.

    Counters, logs and `add @set` let everything through: they tell and remember, the trace decides. The rate of
    packets is not known here: `limit rate` matches, `limit rate over` does not.
    """
    match expression:
        case Counter() | Log() | AddToSet():
            return None
        case Limit(mode=mode):
            return None if mode is LimitMode.WITHIN else _never
        case Match(fields, operand, comparison):
            return _compared(key_of_fields(fields), _membership(operand, sets), comparison)
        case _:
            raise InvalidNftError("trace", f"cannot follow {expression!r}")


def _never(laid: Laid) -> bool:
    return False


def _compared(key: Key, contains: Callable[[object], bool], comparison: Comparison) -> Test:
    if comparison is Comparison.EQUAL:
        return lambda laid: contains(key(laid)) is True

    def differs(laid: Laid) -> bool:
        value = key(laid)
        return value is not ABSENT and not contains(value)

    return differs
