"""Reading fields of a message so that a fault names the way to it.

Knows paths, counts and order. Knows no message.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from typing import Any, TypeVar

from compilers.model.faults import InvalidField
from policy_controller.wire.limits import check_count

Field = TypeVar("Field")
Value = TypeVar("Value")


def at(name: str, read: Callable[[Field], Value], field: Field) -> Value:
    """What `read` makes of the field; a fault of it is one of the field of this name."""
    try:
        return read(field)
    except InvalidField as fault:
        raise fault.under((name,)) from None


def each(
    name: str, read: Callable[[Field], Value], fields: Collection[Field], most: int
) -> tuple[Value, ...]:
    """What `read` makes of every entry of a repeated field of at most `most`; a fault names the entry."""
    at(name, lambda items: check_count(items, most), fields)
    values: list[Value] = []
    for index, field in enumerate(fields):
        try:
            values.append(read(field))
        except InvalidField as fault:
            raise fault.under((name, index)) from None
    return tuple(values)


def ascending(name: str, values: tuple[Value, ...], key: Callable[[Value], Any]) -> tuple[Value, ...]:
    """The values, when their keys ascend without repeats: one encoding for one state."""
    keys = [key(value) for value in values]
    for index, (before, after) in enumerate(pairwise(keys), start=1):
        if not before < after:
            raise InvalidField("repeats or is out of order", (name, index))
    return values


def said(name: str, choice: str | None, kinds: Iterable[str]) -> str:
    """Which member of a oneof is set; raises InvalidField when none is, since nothing is implied."""
    if choice is None:
        raise InvalidField(f"is missing: one of {', '.join(kinds)} must be said", (name,))
    return choice
