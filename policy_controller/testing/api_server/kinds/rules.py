"""The shape of a kind's rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import FieldFault


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


@dataclass(frozen=True, slots=True)
class Rules:
    """One kind's rules; each changes the object in place or says what is wrong with it.

    `begin` gives a new object its first state; `always` sets what the server owns whatever the client says; `shape`
    fills in defaults and drops what the type does not have (it raises ApiError 400 when a field has the wrong type);
    `validate` finds faults; `grace` is the default number of seconds between a DELETE and the removal.
    """

    begin: Callable[[JsonObject], None] = nothing
    always: Callable[[JsonObject], None] = nothing
    shape: Callable[[JsonObject], None] = nothing
    validate: Callable[[JsonObject], list[FieldFault]] = no_faults
    grace: Callable[[JsonObject], int] = no_grace


PLAIN: Final = Rules()
