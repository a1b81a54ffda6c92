"""Where the fields of a document stand in its file.

Knows lines and columns. Knows nothing of values. Positions are worked out when somebody asks: most never are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from compilers.model.faults import FieldPath, PathPart, Position

Positions = Mapping[FieldPath, Position]
"""The position of each field: that of its key in a mapping, that of the item in a sequence."""


class Place(NamedTuple):
    """Line and column of a value, counted from 1, and the places inside it (None for a scalar)."""

    line: int
    column: int
    inner: dict[PathPart, "Place"] | list["Place"] | None


def part(key: object) -> PathPart:
    """A key of a mapping as a part of a path; keys without quotes in YAML may be booleans, numbers or null."""
    match key:
        case str():
            return key
        case None:
            return "null"
        case bool():
            return "true" if key else "false"
        case _:
            return str(key)


def step(place: Place, name: PathPart) -> Place | None:
    """The place of one field or item inside `place`; None when there is none."""
    inner = place.inner
    if isinstance(inner, dict):
        return inner.get(name)
    if inner is None or not isinstance(name, int) or not 0 <= name < len(inner):
        return None
    return inner[name]


class FilePositions(Positions):
    """The positions of one document, read from its places on demand.

    `root` gives the places of the whole document; None when they could not be worked out.
    """

    def __init__(self, file: str, root: Callable[[], Place | None]) -> None:
        self._file = file
        self._root = root

    def __getitem__(self, path: FieldPath) -> Position:
        place = self._root()
        for name in path:
            place = None if place is None else step(place, name)
        if place is None:
            raise KeyError(path)
        return Position(self._file, place.line, place.column)

    def __iter__(self) -> Iterator[FieldPath]:
        root = self._root()
        waiting: list[tuple[FieldPath, Place]] = [] if root is None else [((), root)]
        while waiting:
            path, place = waiting.pop()
            yield path
            inner = place.inner
            fields = inner.items() if isinstance(inner, dict) else enumerate(inner or ())
            waiting += [((*path, name), child) for name, child in fields]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def under(self, prefix: FieldPath) -> "FilePositions":
        """The positions of what stands at `prefix`, as paths from there."""

        def inner() -> Place | None:
            place = self._root()
            for name in prefix:
                place = None if place is None else step(place, name)
            return place

        return FilePositions(self._file, inner)
