"""The shape of a kind's rules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault


def nothing(body: JsonObject) -> None:
    """Leaves the object as it is."""


def no_faults(body: JsonObject) -> list[FieldFault]:
    """Finds nothing wrong."""
    del body
    return []


def no_grace(body: JsonObject) -> int:
    """Removes at once."""
    del body
    return 0


def follow_anything(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    """Lets every change be."""
    del before, after
    return []


def claim_nothing(body: JsonObject, others: Iterator[JsonObject]) -> list[FieldFault]:
    """Needs nothing that others could have."""
    del body, others
    return []


@dataclass(frozen=True, slots=True)
class Rules:
    """One kind's rules; each changes the object in place or says what is wrong with it.

    `begin` gives a new object its first state; `always` sets what the server owns whatever the client says; `shape`
    fills in defaults and drops what the type does not have (it raises ApiError 400 when a field has the wrong type);
    `validate` finds faults; `follow` carries over what an update leaves out and finds what it may not change; `claim`
    gives an object what no other of its kind may have, such as an address, or finds that it is taken; `grace` is the default number of seconds between a DELETE and the removal.
    """

    begin: Callable[[JsonObject], None] = nothing
    always: Callable[[JsonObject], None] = nothing
    shape: Callable[[JsonObject], None] = nothing
    validate: Callable[[JsonObject], list[FieldFault]] = no_faults
    follow: Callable[[JsonObject, JsonObject], list[FieldFault]] = follow_anything
    claim: Callable[[JsonObject, Iterator[JsonObject]], list[FieldFault]] = claim_nothing
    grace: Callable[[JsonObject], int] = no_grace


def immutable(
    before: JsonObject, after: JsonObject, *paths: str, detail: str = "field is immutable"
) -> list[FieldFault]:
    """A fault for each field, named by its dotted path, that an update changes."""
    faults = []
    for path in paths:
        old, new = (_at(body, path) for body in (before, after))
        if old != new:
            faults.append(FieldFault(path, Fault.INVALID, detail, new))
    return faults


def _at(body: JsonObject, path: str) -> object:
    value: object = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def section(body: JsonObject, name: str) -> JsonObject:
    """An object inside a body, made when it is absent; another value is left alone and hidden."""
    inner = body.setdefault(name, {})
    return inner if isinstance(inner, dict) else {}


PLAIN: Final = Rules()
