"""What the node itself shows of its pods: looked at when links come and go, and while somebody is looked for.

Knows when to look, and remembers who was seen that nobody has told of. Knows nothing of tables or of what the operator says.
"""

import errno
import logging
from typing import Final

from compilers.model.words import Address
from policy_controller.clock import Clock
from policy_controller.enforcer.departed import Departed
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.newcomers import NO_NEWCOMERS, Newcomers
from policy_controller.enforcer.residence import Residents

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks while gates of departed pods stay, or while somebody is there of whom nobody has told."""


class Presence:
    """Looks for whoever asks. Use from one event loop."""

    def __init__(self, kernel: Kernel, clock: Clock) -> None:
        self._kernel = kernel
        self._clock = clock
        self._again = clock.now()
        self._blind = False
        self._news = False
        self._newcomers = NO_NEWCOMERS
        self.crowded = 0
        """How often who is on the node could not be told, because there were too many addresses."""

    @property
    def newcomers(self) -> Newcomers:
        """Pods that nobody has told of, as the last look showed them."""
        return self._newcomers

    def note_links(self) -> None:
        """Links have come or gone."""
        self._news = True

    def next_look(self, departed: Departed) -> float | None:
        """Seconds until the node is to be looked at; None when nobody is looked for."""
        if self._news:
            return 0.0
        wanted = bool(departed.links or self._newcomers.since)
        return max(self._again - self._clock.now(), 0.0) if wanted else None

    @property
    def sought(self) -> bool:
        """Whether somebody may be there of whom nobody has told."""
        return self._news or bool(self._newcomers.since)

    async def look(self, known: frozenset[Address]) -> Residents | None:
        """Who is there; None when that cannot be told. `known`: the addresses of pods of which the node has been told."""
        self._news, self._again = False, self._clock.now() + LOOK_SECONDS
        try:
            seen = await self._kernel.residents()
        except OSError as error:
            self.crowded += error.errno == errno.E2BIG
            if not self._blind:
                log.warning(
                    "who is on the node cannot be told: gates of pods that left stay: %s", error.strerror
                )
            self._blind = True
            return None
        self._blind = False
        self._newcomers = self._newcomers.after(seen, known, self._clock.now())
        return seen
