"""How many records of one kind are told, where whoever reaches a port can cause as many as they like.

Knows time and counts. Knows nothing of records.
"""

from collections.abc import Callable, Hashable
from typing import Final

BURST: Final = 100
EACH_SECOND: Final = 10.0
"""So many are told at once, and each second from then on."""
MOST_KINDS: Final = 1_024
"""Kinds that a Restraints tells apart; of more, the one that was longest asked for begins anew."""


class Restraint:
    """Of one kind of record. `now` gives monotonic seconds."""

    def __init__(
        self, now: Callable[[], float], burst: float = BURST, each_second: float = EACH_SECOND
    ) -> None:
        self._now = now
        self._burst = burst
        self._each_second = each_second
        self._room = burst
        self._filled = now()
        self._left_out = 0
        self.ever = 0
        """How many were left out since this exists."""

    def allows(self) -> bool:
        """Whether one more may be told now; one that may not counts as left out."""
        now = self._now()
        self._room = min(self._burst, self._room + (now - self._filled) * self._each_second)
        self._filled = now
        if self._room < 1:
            self._left_out += 1
            self.ever += 1
            return False
        self._room -= 1
        return True

    def left_out(self) -> int:
        """How many were left out since this was last asked."""
        count, self._left_out = self._left_out, 0
        return count


class Restraints:
    """Of many kinds, one of which keeps no other from being told."""

    def __init__(
        self, now: Callable[[], float], burst: float = BURST, each_second: float = EACH_SECOND
    ) -> None:
        self._now = now
        self._burst = burst
        self._each_second = each_second
        self._kinds: dict[Hashable, Restraint] = {}
        self._forgotten = 0

    def __getitem__(self, kind: Hashable) -> Restraint:
        """The restraint of a kind."""
        one = self._kinds.pop(kind, None) or Restraint(self._now, self._burst, self._each_second)
        # In the order in which they were asked for.
        self._kinds[kind] = one
        if len(self._kinds) > MOST_KINDS:
            self._forgotten += self._kinds.pop(next(iter(self._kinds))).ever
        return one

    @property
    def ever(self) -> int:
        """How many were left out, of all kinds."""
        return self._forgotten + sum(one.ever for one in self._kinds.values())
