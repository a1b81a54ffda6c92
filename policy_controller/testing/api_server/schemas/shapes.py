"""Shapes: what the fields of the served kinds hold.

Knows names, types and merge rules of fields, read from `types.json` and `merges`. Knows nothing of what a field means,
nor of any object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from policy_controller.testing.api_server.schemas.merges import (
    ATOMIC_FIELDS,
    ATOMIC_TYPES,
    LISTS,
    REPLACED,
    ListMerge,
)

REQUIRED_MARK: Final = "!"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts; `word` is the notation's: string, integer, number, boolean, int-or-string, quantity."""

    word: str


@dataclass(frozen=True, slots=True)
class Free:
    """Any JSON value: nothing is known of it."""


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object whose names are data."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one shape."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class Named:
    """An object with known fields: the name of its type, e.g. `core.v1.Container`."""

    name: str

    @property
    def fields(self) -> Mapping[str, "Field"]:
        """Its fields by their names in JSON."""
        return _fields_of(self.name)


Shape = Scalar | Free | MapOf | ListOf | Named


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type: its shape, whether it must be there, and how lists in it are merged.

    `atomic` fields belong to one field manager as a whole, although they have parts.
    """

    shape: Shape
    required: bool
    merge: ListMerge = REPLACED
    atomic: bool = False


SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "int-or-string", "quantity"})
FREE: Final = Free()


def read_notation(text: str) -> Shape:
    """A shape as `types.json` writes it: `string`, `[core.v1.Container]`, `{string}`, `*` for anything."""
    if text == "*":
        return FREE
    if text.startswith("["):
        return ListOf(read_notation(text[1:-1]))
    if text.startswith("{"):
        return MapOf(read_notation(text[1:-1]))
    return Scalar(text) if text in SCALARS else Named(text)


@cache
def _types() -> Mapping[str, Mapping[str, str]]:
    text = files(__package__).joinpath("types.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


@cache
def _fields_of(name: str) -> Mapping[str, Field]:
    return {field: _field(name, field, text) for field, text in _types()[name].items()}


def _field(owner: str, name: str, text: str) -> Field:
    path = f"{owner}.{name}"
    shape = read_notation(text.removesuffix(REQUIRED_MARK))
    whole = path in ATOMIC_FIELDS or (isinstance(shape, Named) and shape.name in ATOMIC_TYPES)
    return Field(shape, text.endswith(REQUIRED_MARK), LISTS.get(path, REPLACED), whole)


def type_names() -> list[str]:
    """All types there are, sorted."""
    return sorted(_types())


def kind_named(api_version: str, kind: str) -> Named:
    """The type of a served kind."""
    group, _, version = api_version.rpartition("/")
    # The types of `rbac.authorization.k8s.io` are called `rbac.v1.*`: by the first word of the group.
    return Named(f"{group.partition('.')[0] or 'core'}.{version}.{kind}")
