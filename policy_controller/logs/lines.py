"""A record as lines of a log: one JSON object, or text for a terminal.

Knows records. What they say is hostile, so all of it goes through safe.py or JSON's escapes: the output is printable
ASCII, and only the end of a record ends a line.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from policy_controller.logs.safe import beginning, end, safe

LONGEST_MESSAGE: Final = 2_000
LONGEST_EXCEPTION: Final = 8_000
"""Characters before they are escaped; libraries tell of whole objects, and an object may have a million."""
LONGEST_NAME: Final = 200

PLACE: Final = "place"
"""Attribute of a record: where in a C library's source it comes from."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, and where there is one `place` or `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": beginning(record.name, LONGEST_NAME),
            "message": _message(record),
        }
        if (place := getattr(record, PLACE, None)) is not None:
            entry["place"] = beginning(str(place), LONGEST_NAME)
        if exception := self._exception(record):
            entry["exception"] = exception
        return json.dumps(entry)

    def _exception(self, record: logging.LogRecord) -> str:
        # The end of a traceback names the error.
        return end(self.formatException(record.exc_info), LONGEST_EXCEPTION) if record.exc_info else ""


class TextLines(JsonLines):
    """A line a record, and below it the traceback, indented: what is not indented begins a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as lines of printable ASCII."""
        name = safe(beginning(record.name, LONGEST_NAME))
        first = f"{_time(record)} {safe(record.levelname):<7} {name}: {safe(_message(record))}"
        rest = self._exception(record).splitlines()
        return "\n".join((first, *(f"    {safe(line)}" for line in rest)))


def _time(record: logging.LogRecord) -> str:
    told = datetime.fromtimestamp(record.created, UTC)
    return f"{told:%Y-%m-%dT%H:%M:%S}.{told.microsecond // 1000:03d}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as fault:  # noqa: BLE001 - arguments that do not fit, or whose __str__ fails: still something is told
        message = f"{record.msg} (its arguments cannot be shown: {type(fault).__name__})"
    return beginning(message, LONGEST_MESSAGE)
