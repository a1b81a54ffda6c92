"""How many lines one place of the program may write to the log, whatever makes it write.

Knows records and where they come from. A restraint beside a port tells kinds of callers apart; this is for all the rest: a
tenant's objects, a kernel, a library that tells of every request.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from policy_controller.logs.restraint import Restraints

BURST_SECONDS: Final = 10
"""What a place may write in so many seconds it may write at once."""


class Pace(logging.Filter):
    """Of a log. `now` gives monotonic seconds; a last word (CRITICAL) is never left out."""

    def __init__(self, now: Callable[[], float], each_second: float) -> None:
        super().__init__()
        self._places = Restraints(now, BURST_SECONDS * each_second, each_second)
        # Records of any thread come here.
        self._counting = threading.Lock()

    @property
    def ever(self) -> int:
        """How many lines were left out."""
        with self._counting:
            return self._places.ever

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told; the next one of its place says how many were not."""
        with self._counting:
            place = self._places[record.pathname, record.lineno]
            if record.levelno < logging.CRITICAL and not place.allows():
                return False
            left_out = place.left_out()
        if left_out:
            record.msg = f"{_text(record)} ({left_out} lines of this place were left out)"
            record.args = ()
        return True


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as fault:  # noqa: BLE001 - arguments that do not fit, or whose __str__ fails
        return f"{record.msg} (its arguments cannot be shown: {type(fault).__name__})"
