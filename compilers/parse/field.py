"""Fields of a tree: a value, where it stands, and where what is wrong with it is written down.

Knows the JSON types and how a wrong one is told. Knows nothing of what a field means.
Reading never raises: a fault is noted and the value counts as absent.
"""

import difflib
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from compilers.model.faults import Fault, FieldPath, InvalidField, ObjectRef, Position
from compilers.model.selector import quoted
from compilers.parse.bounds import MOST_FAULTS
from compilers.parse.places import Positions, part

T = TypeVar("T")


class Origin(enum.Enum):
    """Where a tree comes from: an API server has accepted it and filled in defaults; a file is anybody's."""

    API = "api"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """What was read: the value as far as it could be, every fault, and warnings that change nothing.

    `value` None: not even the object's name could be read, or it is an object of another kind.
    """

    value: T | None
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


@dataclass(slots=True)
class Findings:
    """The faults and warnings of one object, collected while it is read; all are counted, and so many kept."""

    object: ObjectRef
    origin: Origin
    positions: Positions
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    count: int = 0
    """How many faults were noted, kept or not."""

    def fault(self, path: FieldPath, reason: str) -> None:
        """Note that the field cannot stand as it is."""
        self.count += 1
        if self.count <= MOST_FAULTS:
            self.faults.append(Fault(self.object, path, reason, self._position(path)))
        elif self.count == MOST_FAULTS + 1:
            self.faults.append(Fault(self.object, (), "has more faults, which are not told"))

    def warn(self, path: FieldPath, reason: str) -> None:
        """Note that the field was read, though not as everybody would read it."""
        if len(self.warnings) < MOST_FAULTS:
            self.warnings.append(Fault(self.object, path, reason, self._position(path)))

    def since(self, count: int) -> tuple[Fault, ...]:
        """The faults after the first `count`: at least one when there is any, also when none of them was kept."""
        kept = tuple(self.faults[count:])
        return kept if kept or self.count == count else (self.faults[-1],)

    def _position(self, path: FieldPath) -> Position | None:
        if not self.positions:
            return None
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path)


_LONGEST_GUESS: Final = 40
_TOO_LARGE: Final = 2**63


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a tree with its path; readers note a fault and give None or nothing when the type is wrong."""

    value: object
    path: FieldPath
    findings: Findings

    @property
    def absent(self) -> bool:
        """Whether there is nothing. API conventions: null is the same as a field that is not there."""
        return self.value is None

    def fault(self, reason: str, below: FieldPath = ()) -> None:
        """Note a fault of this field, or of what stands `below` it."""
        self.findings.fault(self.path + below, reason)

    def warn(self, reason: str) -> None:
        """Note a warning."""
        self.findings.warn(self.path, reason)

    def invalid(self, fault: InvalidField) -> None:
        """Note what a constructor of the model refused."""
        self.fault(fault.reason, fault.path)

    def passes(self, check: Callable[[T], None], value: T) -> bool:
        """Whether a check of the model accepts the value; what it refuses is a fault of this field."""
        try:
            check(value)
        except InvalidField as fault:
            self.invalid(fault)
            return False
        return True

    def at(self, name: str) -> "Field":
        """A field inside; absent when this is not a mapping (which `fields` reports)."""
        inner = self.value.get(name) if isinstance(self.value, dict) else None
        return Field(inner, (*self.path, name), self.findings)

    def fields(self, known: frozenset[str] | None = None) -> Mapping[object, object]:
        """The mapping here; an unknown field is a fault when `known` says which there are."""
        if self.absent:
            return {}
        if not isinstance(self.value, dict):
            self.fault(f"must be a mapping of fields, found {shown(self.value)}")
            return {}
        for key in self.value if known is not None else ():
            if not isinstance(key, str) or key not in (known or ()):
                told = self.findings.count < MOST_FAULTS
                self.fault(_unknown(key, known or frozenset()) if told else "is unknown", (part(key),))
        return self.value

    def items(self) -> list["Field"]:
        """The items of the list here; none when it is absent."""
        if self.absent:
            return []
        if not isinstance(self.value, list):
            self.fault(f"must be a list, found {shown(self.value)}")
            return []
        return [Field(item, (*self.path, index), self.findings) for index, item in enumerate(self.value)]

    def text(self) -> str | None:
        """The string here."""
        if self.value is None or isinstance(self.value, str):
            return self.value
        self.fault(f"must be a string, found {shown(self.value)}{_hint(self.value)}")
        return None

    def integer(self) -> int | None:
        """The integer here; booleans and numbers with a fraction or exponent are none."""
        value = self.value
        if value is None or (
            isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
        ):
            return value
        self.fault(f"must be an integer, found {shown(self.value)}")
        return None

    def boolean(self) -> bool | None:
        """The boolean here."""
        if self.value is None or isinstance(self.value, bool):
            return self.value
        self.fault(f"must be true or false, found {shown(self.value)}")
        return None


def shown(value: object) -> str:
    """What kind of value was found, with the value itself when it is short."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return f"the boolean {part(value)}"
        case int() if abs(value) >= _TOO_LARGE:
            return "a number beyond 64 bits"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the string {quoted(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _hint(value: object) -> str:
    if isinstance(value, bool):
        return ": quote it (YAML reads yes, no, on, off, y, n, true and false as booleans)"
    if isinstance(value, int | float):
        return ": quote it"
    return ""


def _unknown(key: object, known: frozenset[str]) -> str:
    if not isinstance(key, str):
        return f"field names are strings, found {shown(key)}{_hint(key)}"
    near = difflib.get_close_matches(key, sorted(known), 1) if len(key) <= _LONGEST_GUESS else []
    guess = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"there is no such field; {guess}"
