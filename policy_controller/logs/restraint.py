"""How many records of one kind are told, where whoever reaches a port can cause as many as they like.

Knows time and counts. Knows nothing of records.
"""

from collections.abc import Callable
from typing import Final

BURST: Final = 100
EACH_SECOND: Final = 10.0
"""So many are told at once, and each second from then on."""


class Restraint:
    """Of one kind of record. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._room = float(BURST)
        self._filled = now()
        self._left_out = 0

    def allows(self) -> bool:
        """Whether one more may be told now; one that may not counts as left out."""
        now = self._now()
        self._room = min(BURST, self._room + (now - self._filled) * EACH_SECOND)
        self._filled = now
        if self._room < 1:
            self._left_out += 1
            return False
        self._room -= 1
        return True

    def left_out(self) -> int:
        """How many were left out since this was last asked."""
        count, self._left_out = self._left_out, 0
        return count
