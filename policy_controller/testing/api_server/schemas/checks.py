"""A document against its shape: what is unknown, missing or of the wrong type.

Knows shapes, not kinds: what a value must be beyond its type is in `kinds`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.schemas.shapes import (
    Free,
    ListOf,
    MapOf,
    Named,
    Scalar,
    Shape,
)

_JSON_WORDS: Final[Mapping[type, str]] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: Final[Mapping[str, Callable[[object], bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "int-or-string": lambda value: isinstance(value, str) or _is_integer(value),
    "integer": _is_integer,
    "number": _is_number,
    # API reference: a Quantity is written as a text, or as a number.
    "quantity": lambda value: isinstance(value, str) or _is_number(value),
    "string": lambda value: isinstance(value, str),
}


@dataclass(slots=True)
class Findings:
    """What was found on the way through a document: paths of unknown fields, sentences on wrong types."""

    unknown: list[str] = field(default_factory=list)
    mistyped: list[str] = field(default_factory=list)


def fitted(document: JsonObject, kind: Named, findings: Findings) -> JsonObject:
    """The document as a Go decoder of its type sees it: without unknown fields and without nulls."""
    result: JsonObject = _fitted_object(document, kind, "", findings)
    return result


def _fitted(value: Any, shape: Shape, path: str, findings: Findings) -> Any:  # noqa: ANN401 - any JSON value
    match shape:
        case Free():
            return value
        case Scalar(word):
            if not _FITS[word](value):
                _mistyped(value, path, word, findings)
            return value
        case ListOf(item):
            if not isinstance(value, list):
                return _mistyped(value, path, "list", findings)
            empty = "" if isinstance(item, Scalar) else {}
            return [
                _fitted(empty if one is None else one, item, f"{path}[{index}]", findings)
                for index, one in enumerate(value)
            ]
        case MapOf(inner):
            if not isinstance(value, dict):
                return _mistyped(value, path, "map", findings)
            return {
                name: "" if one is None else _fitted(one, inner, f"{path}.{name}", findings)
                for name, one in value.items()
            }
        case Named():
            if not isinstance(value, dict):
                return _mistyped(value, path, shape.name.rpartition(".")[2], findings)
            return _fitted_object(value, shape, f"{path}.", findings)


def _fitted_object(value: JsonObject, shape: Named, prefix: str, findings: Findings) -> JsonObject:
    fields = shape.fields
    result: JsonObject = {}
    for name, inner in value.items():
        known = fields.get(name)
        if known is None:
            findings.unknown.append(f"{prefix}{name}")
        elif inner is not None:
            result[name] = _fitted(inner, known.shape, f"{prefix}{name}", findings)
    return result


def _mistyped(value: Any, path: str, word: str, findings: Findings) -> Any:  # noqa: ANN401 - any JSON value
    given = _JSON_WORDS[type(value)]
    findings.mistyped.append(f"json: cannot unmarshal {given} into Go struct field {path} of type {word}")
    return value


def missing(document: JsonObject, kind: Named, *parts: str) -> list[FieldFault]:
    """A fault for each required field that is absent or empty, in these top-level fields of a fitted document."""
    faults = []
    for name in parts:
        if name in document:
            faults += list(_missing(document[name], kind.fields[name].shape, name))
        elif kind.fields[name].required:
            faults.append(FieldFault(name, Fault.REQUIRED, ""))
    return faults


def _missing(value: Any, shape: Shape, path: str) -> Iterator[FieldFault]:  # noqa: ANN401 - any JSON value
    match shape:
        case ListOf(item):
            for index, one in enumerate(value):
                yield from _missing(one, item, f"{path}[{index}]")
        case Named():
            for name, known in shape.fields.items():
                inner = value.get(name)
                if inner is not None and inner != "":
                    yield from _missing(inner, known.shape, f"{path}.{name}")
                elif known.required:
                    yield FieldFault(f"{path}.{name}", Fault.REQUIRED, "")
        case _:
            return
