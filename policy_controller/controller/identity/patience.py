"""How often the API server is asked for nothing because of one caller.

Knows callers' names (addresses, or nodes) and times. Knows nothing of tokens. Whoever reaches the port can invent a token
for every call, so that nothing that is remembered helps; and the API server has more to do than to look at them.
"""

from collections import Counter, deque
from typing import Final

from policy_controller.clock import Clock

MOST: Final = 30
WHILE_SECONDS: Final = 30.0
"""So often in so long; an enforcer with a token that is refused tries less often than that."""
MOST_NOTED: Final = 65_536
"""Times that are remembered, of all callers; the oldest go. Who has a whole network of IPv6 can call from any number."""


class Patience:
    """With every caller of one sort."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()
        self.forgotten = 0
        """Times that were forgotten before they were over."""

    def note(self, caller: str) -> None:
        """The API server was asked for nothing because of this one."""
        self._noted.append((self._clock.now() + WHILE_SECONDS, caller))
        self._counts[caller] += 1
        if len(self._noted) > MOST_NOTED:
            self.forgotten += 1
            self._forget()

    def is_exhausted(self, caller: str) -> bool:
        """Whether it was asked so often that it is not asked again now."""
        while self._noted and self._noted[0][0] <= self._clock.now():
            self._forget()
        return self._counts[caller] >= MOST

    def _forget(self) -> None:
        _, past = self._noted.popleft()
        self._counts[past] -= 1
        if not self._counts[past]:
            # A counter keeps what it once counted, and there are many callers.
            del self._counts[past]
