"""How often the API server is asked for nothing because of one address.

Knows addresses and times. Knows nothing of tokens. Whoever reaches the port can invent a token for every call, so that
nothing that is remembered helps; and the API server has more to do than to look at them.
"""

from collections import Counter, deque
from typing import Final

from policy_controller.clock import Clock

MOST: Final = 30
WHILE_SECONDS: Final = 30.0
"""So often in so long; an enforcer with a token that is refused tries less often than that."""


class Patience:
    """With every address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def note(self, address: str) -> None:
        """The API server was asked for nothing because of this address."""
        self._noted.append((self._clock.now() + WHILE_SECONDS, address))
        self._counts[address] += 1

    def is_exhausted(self, address: str) -> bool:
        """Whether it was asked so often that it is not asked again now."""
        while self._noted and self._noted[0][0] <= self._clock.now():
            _, past = self._noted.popleft()
            self._counts[past] -= 1
            if not self._counts[past]:
                # A counter keeps what it once counted, and there are many addresses.
                del self._counts[past]
        return self._counts[address] >= MOST
