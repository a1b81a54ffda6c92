"""What is wrong with an object, said so that its author can mend it: object, field, reason, place in the file.

Knows how a fault is named and printed. Knows nothing of what makes a field wrong: constructors and the parser do.
"""

import re
from dataclasses import dataclass, field
from typing import Final

PathPart = str | int
FieldPath = tuple[PathPart, ...]

_SHOWN: Final = 80
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


def quoted(text: str) -> str:
    """A hostile string made fit for one line of a message: escaped, and cut at 80 characters."""
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    escaped = shown.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'.replace("\\u2026", "…")


def path_text(path: FieldPath) -> str:
    """A field path as admins write it: `spec.ingress[0].ports[1].port`; the empty path is the object itself.

    Keys that are not plain field names stand in quotes: `matchLabels["app.kubernetes.io/name"]`.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) > _SHOWN or not _FIELD_NAME.fullmatch(part):
            text += f"[{quoted(part)}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """An object's kind, namespace ("" where the kind has none) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a field stands in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class InvalidField(ValueError):  # noqa: N818 - named for what it says; it is raised as often as it is carried
    """A value that the API forbids in a field.

    `path` is relative to the value whose constructor raised it; the parser puts the way to that value before it.
    """

    def __init__(self, reason: str, path: FieldPath = ()) -> None:
        super().__init__(f"{path_text(path)}: {reason}" if path else reason)
        self.reason = reason
        self.path = path

    def under(self, prefix: FieldPath) -> "InvalidField":
        """The same fault seen from the object that holds the value at `prefix`."""
        return InvalidField(self.reason, prefix + self.path)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One wrong field of one object. Sorted by object, then field, then reason."""

    object: ObjectRef
    # Paths mix numbers and words, which do not compare; their text does.
    where: str = field(init=False, repr=False)
    path: FieldPath = field(compare=False)
    reason: str
    position: Position | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", path_text(self.path))

    def __str__(self) -> str:
        place = f"{self.position}: " if self.position else ""
        where = f": {self.where}" if self.where else ""
        return f"{place}{self.object}{where}: {self.reason}"
