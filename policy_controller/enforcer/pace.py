"""How soon the tables are looked at again, when others give reason to.

Knows times. Pure: what happened comes in as numbers. The first looks are at once. When there goes on being reason each later
one waits twice as long, but not as long as a second, unless four looks take longer. So whoever changes the tables again and
again costs a node little more than a look a second and at most a fifth of one processor, and is undone within a second
each time, for ever.
"""

from typing import Final

AT_ONCE: Final = 10
"""So many looks wait for nothing."""
SHORTEST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 0.8
LOOKS: Final = 4
"""How many times as long as a look took there is none after it, at least."""
CALM_SECONDS: Final = 30.0
"""After so long without a reason the next look is a first one."""
FIGHT: Final = 10
"""Looks that found something amiss, without calm between them, from which on somebody fights."""


class Pace:
    """Of the looks at one node's tables. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._looks = 0
        self._ended = 0.0
        self._mended = 0
        self._mended_at = 0.0
        self.due = 0.0
        """When the next look may begin."""

    def looked(self, begin: float, end: float, amiss: bool) -> None:
        """A look that somebody gave reason for took place; `amiss`: something was mended."""
        if begin - self._ended > CALM_SECONDS:
            self._looks = self._mended = 0
        self._looks += 1
        if amiss:
            self._mended += 1
            self._mended_at = end
        self._ended = end
        late = self._looks - AT_ONCE
        if late < 0:
            self.due = end
            return
        wait = min(SHORTEST_SECONDS * 2.0 ** min(late, 10), LONGEST_SECONDS)
        self.due = end + max(wait, LOOKS * (end - begin))

    def fights(self, now: float) -> int:
        """How often it was mended without calm between, once that is a fight; else 0."""
        fought = self._mended >= FIGHT and now - self._mended_at <= CALM_SECONDS
        return self._mended if fought else 0
