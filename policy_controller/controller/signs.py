"""Signs of life of the watches: when each last asked, when it last heard something, and whether it hears now.

Knows kinds and times. Knows nothing of HTTP or of kopf: answers.py tells what happens, operator.py judges.

A watch that is refused again and again asks, so it lives; but its kind is not watched. A watch counts from its first event
on, or once it has stayed open for a while: some servers open one only to end it with an error.
"""

from dataclasses import dataclass, field
from itertools import count
from typing import Final

from policy_controller.clock import Clock
from policy_controller.controller.kinds import Kind

STEADY_SECONDS: Final = 5.0
"""A watch that is open for so long counts, though it was told nothing."""


@dataclass(slots=True)
class _Sign:
    last: float
    """The last sign of life."""
    unwatched_since: float | None
    """None: an open watch counts."""
    open_since: dict[int, float] = field(default_factory=dict)
    """Of each watch that is open. One that kopf has left may end after the next has begun."""
    refused: int = 0
    """The last answer that was no watch, as an HTTP status; 0 is none since the last watch."""


class Signs:
    """Of one operator, by kind. Use from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count()
        self._signs = {kind: _Sign(clock.now(), clock.now()) for kind in Kind}

    def asked(self, kind: Kind) -> None:
        """Kopf has asked for objects of the kind, once or for good."""
        self._signs[kind].last = self._clock.now()

    def answered(self, kind: Kind, status: int) -> None:
        """A watch was asked for, and this is the status of the answer."""
        self._signs[kind].refused = 0 if status == 200 else status

    def opened(self, kind: Kind) -> int:
        """A watch is open; returns its number."""
        number = next(self._numbers)
        self._signs[kind].open_since[number] = self._clock.now()
        return number

    def heard(self, kind: Kind) -> None:
        """A watch was told something."""
        sign = self._signs[kind]
        sign.last, sign.unwatched_since = self._clock.now(), None

    def ended(self, kind: Kind, number: int) -> None:
        """The watch of this number has ended."""
        sign, watched = self._signs[kind], self.unwatched_seconds(kind) == 0.0
        del sign.open_since[number]
        if watched:
            sign.unwatched_since = self._clock.now()

    def last(self, kind: Kind) -> float:
        """When the watch of a kind last gave a sign of life; the beginning counts as one."""
        return self._signs[kind].last

    def unwatched_seconds(self, kind: Kind) -> float:
        """For how long nobody has been telling of the kind; 0 while somebody does."""
        sign, now = self._signs[kind], self._clock.now()
        if sign.unwatched_since is None:
            return 0.0
        if any(now - since >= STEADY_SECONDS for since in sign.open_since.values()):
            return 0.0
        return now - sign.unwatched_since

    def refused(self, kind: Kind) -> int:
        """The HTTP status with which the API server last refused a watch; 0 when it did not."""
        return self._signs[kind].refused
