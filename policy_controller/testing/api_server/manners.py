"""How a write is done: which part of an object it changes, for whom, and what is thought of unknown fields.

Knows what a request may ask of any write alike. Knows nothing of HTTP, nor how a write is carried out.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from policy_controller.testing.api_server.documents import JsonObject, metadata_of


class Part(enum.Enum):
    """Which part of an object a write changes."""

    MAIN = "all but status"
    STATUS = "status, labels and annotations"
    WHOLE = "everything at once: in-process only, no request can do it"


class Commit(enum.Enum):
    """Whether the result is stored or only computed (dryRun=All)."""

    WRITE = "write"
    DRY_RUN = "dry run"


class FieldValidation(enum.Enum):
    """What becomes of fields that the type does not have, and of fields that are given twice."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


Track = Callable[[JsonObject | None, JsonObject], None]
"""Writes down in the new document (the second) which field manager owns what; the first is what was stored, if any."""


def keep_track(before: JsonObject | None, after: JsonObject) -> None:
    """Leaves ownership as it is, whatever the new document says of it."""
    metadata = metadata_of(after)
    metadata.pop("managedFields", None)
    kept = metadata_of(before).get("managedFields") if before is not None else None
    if kept is not None:
        metadata["managedFields"] = kept


def warn_nobody(sentence: str) -> None:
    """Keeps the warning back."""
    del sentence


@dataclass(frozen=True, slots=True)
class Manner:
    """How one write is done; `warn` hears of what was accepted with doubts."""

    part: Part = Part.MAIN
    commit: Commit = Commit.WRITE
    fields: FieldValidation = FieldValidation.IGNORE
    track: Track = keep_track
    warn: Callable[[str], None] = warn_nobody


PLAINLY = Manner()
