"""Kinds of settings: how a value is written in a flag, a variable or a file, and what it becomes.

Knows forms and bounds. Knows nothing of where a value was found.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from compilers.model.faults import quoted
from policy_controller.wire import legal
from policy_controller.wire.channel import HostPort

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

Plain = str | int | float | list[str] | None
"""A value as a file holds it."""


class InvalidValue(ValueError):  # noqa: N818 - as InvalidField
    """A value that a setting does not accept; the text says why."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """Values of one kind. `read` and `take` raise ValueError with a reason that is safe to print."""

    called: str
    """How a value looks, in usage and documents: `HOST:PORT`."""
    read: Callable[[str], T]
    """The value of a flag's or a variable's text."""
    take: Callable[[object], T]
    """The value of what stands in a file: a tree of YAML."""
    show: Callable[[T], Plain]
    """The value as a file would hold it."""


def textual(called: str, read: Callable[[str], T], show: Callable[[T], str] = str) -> Kind[T]:
    """Values that are one text wherever they stand."""

    def take(value: object) -> T:
        if not isinstance(value, str):
            hint = "; quotes make it one" if isinstance(value, int | float) else ""
            raise InvalidValue(f"is {_type_of(value)} and not a text{hint}")
        return read(value)

    return Kind(called, read, take, show)


def number(called: str, least: float, most: float = math.inf) -> Kind[float]:
    """Numbers from `least` to `most`; the unit is part of the setting's name."""

    def bounded(value: float) -> float:
        if not (math.isfinite(value) and least <= value <= most):
            raise InvalidValue(f"is not a number {_range(least, most)}")
        return value

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise InvalidValue(f"{quoted(text)} is not a number") from None
        return bounded(value)

    def take(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue(f"is {_type_of(value)} and not a number")
        # An int can be too large for a float.
        return bounded(float(value) if abs(value) < 1e300 else math.inf)

    def show(value: float) -> Plain:
        return int(value) if value.is_integer() else value

    return Kind(called, read, take, show)


def whole(called: str, least: int, most: int) -> Kind[int]:
    """Whole numbers from `least` to `most`."""
    numbers = number(called, least, most)

    def checked(value: float) -> int:
        if not value.is_integer():
            raise InvalidValue("is not a whole number")
        return int(value)

    return Kind(
        called,
        lambda text: checked(numbers.read(text)),
        lambda value: checked(numbers.take(value)),
        lambda value: value,
    )


def choice(kind: type[E]) -> Kind[E]:
    """One of the words of an enum."""
    words = [str(member.value) for member in kind]

    def read(text: str) -> E:
        for member in kind:
            if member.value == text:
                return member
        raise InvalidValue(f"{quoted(text)} is not one of {', '.join(words)}")

    return textual("|".join(words), read, lambda member: str(member.value))


def _type_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _range(least: float, most: float) -> str:
    return f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"


def _not_empty(text: str) -> str:
    if not text:
        raise InvalidValue("is empty")
    return text


def _path(text: str) -> Path:
    if "\0" in text:
        raise InvalidValue("holds a zero byte, which no path has")
    return Path(_not_empty(text))


def _read_names(text: str) -> tuple[str, ...]:
    return _take_names(text.split(","))


def _take_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidValue(f"is {_type_of(value)} and not a list of texts")
    for name in value:
        if not name or "," in name:
            raise InvalidValue(f"{quoted(name)} is not one name")
    return tuple(value)


TEXT: Final = textual("TEXT", _not_empty)
FILE: Final = textual("FILE", _path)
DIRECTORY: Final = textual("DIRECTORY", _path)
HOST_PORT: Final = textual("HOST:PORT", HostPort.parse)
NODE_NAME: Final = textual("NAME", legal.subdomain)
NAMESPACE: Final = textual("NAME", legal.namespace)
ACCOUNT: Final = textual("NAME", legal.subdomain)
DNS_NAME: Final = textual("NAME", legal.subdomain)
NAMES: Final[Kind[tuple[str, ...]]] = Kind("NAME[,NAME]", _read_names, _take_names, list)
