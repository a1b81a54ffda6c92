"""When what was said on one node's stream: since when it is there, and since when the node holds which state.

Knows times of day, for people to read; nothing is decided by them. Knows nothing of what states hold.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from policy_controller.controller.sessions import SessionStatus

MOST_REMEMBERED: Final = 256
"""Changes of what is in force, a node. Beyond, every second of them is forgotten, and what it began counts as begun by the
next: a time that is told may then be later than the true one, never earlier."""


@dataclass(slots=True)
class Moments:
    """Of one stream; every time is UTC. `sent`, `acked`, `nacked`: of the last message, ack and nack; None is none yet."""

    connected: datetime
    sent: datetime | None = None
    acked: datetime | None = None
    nacked: datetime | None = None
    _last: tuple[int, int, int] = (0, 0, 0)
    _held: list[tuple[int, datetime]] = field(default_factory=list)
    """Revisions of the store, ascending, and since when what is in force agrees with each."""

    def note(self, status: SessionStatus, now: datetime) -> None:
        """How the stream is now."""
        sent, acked, nacks = self._last
        if status.sent != sent:
            self.sent = now
        if status.acked != acked:
            self.acked = now
        if status.nacks != nacks:
            self.nacked = now
        self._last = status.sent, status.acked, status.nacks
        if status.revision > (self._held[-1][0] if self._held else -1):
            self._held.append((status.revision, now))
            if len(self._held) > MOST_REMEMBERED:
                del self._held[1:-1:2]

    def since(self, revision: int) -> datetime | None:
        """When the node first held a state of at least this revision; None: it has not."""
        index = bisect_left(self._held, revision, key=lambda one: one[0])
        return self._held[index][1] if index < len(self._held) else None

    def copy(self) -> "Moments":
        """One that stays as it is."""
        return replace(self, _held=list(self._held))
