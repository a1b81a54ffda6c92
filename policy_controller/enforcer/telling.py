"""What is said when somebody else has changed our tables: in the log, as numbers, and to the operator.

Knows words and how often they are said. Knows nothing of how it was found out (tampering.py) or mended.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from compilers.nftables.base import TABLE
from compilers.nftables.words import TableFamily
from policy_controller.clock import Clock
from policy_controller.enforcer.commits import Author
from policy_controller.enforcer.kernel import KernelError, Occasion
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.reports import Reports
from policy_controller.wire.messages import Tampered
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

SHOWN_DIFFERENCES: Final = 5
AGAIN_SECONDS: Final = 60.0
"""Between two lines of the log that say the same goes on."""

Suspects = Mapping[Author, frozenset[TableFamily]]
"""Who changed which of our tables."""


class Telling:
    """Of one node. `wall` gives seconds since 1970."""

    def __init__(
        self, reports: Reports, metrics: Metrics, clock: Clock, wall: Callable[[], float] = time.time
    ) -> None:
        self._reports = reports
        self._metrics = metrics
        self._clock = clock
        self._wall = wall
        self._said_at: dict[str, float] = {}

    def compared(self, occasion: Occasion) -> None:
        """The tables are being looked at."""
        self._metrics.compared(occasion)

    def lost(self) -> None:
        """Notifications were lost."""
        self._metrics.notifications_lost()
        if self._is_due("lost"):
            log.warning("the kernel told of more commits than were read: all tables are compared")

    def deaf(self, reason: str) -> None:
        """Notifications cannot be had."""
        if self._is_due("deaf"):
            log.error("others that change the tables are not heard, trying again: %s", reason)

    def not_mended(self, error: KernelError) -> None:
        """The kernel did not let the tables be mended."""
        if self._is_due("not mended"):
            log.error("what others changed is not mended yet, trying again: %s", plain(str(error)))

    def mended(self, suspects: Suspects, amiss: tuple[str, ...], seconds: float, fights: int) -> None:
        """What they changed is mended, so long after it was told; `fights`: for the how manieth time in a row, or 0."""
        self._metrics.mended(seconds)
        for author, families in suspects.items():
            self._metrics.tampered(author.name)
            moment = max(0, int(self._wall()))
            self._reports.add(Tampered(author.name, author.number, _in_order(families), 1, moment))
        who = ", ".join(map(str, suspects))
        if not fights:
            touched = _in_order(frozenset().union(*suspects.values()))
            log.error(
                "%s changed %s: mended %.0f ms after it was told, %d differences: %s",
                who,
                " and ".join(f"{family.value} {TABLE}" for family in touched),
                seconds * 1000,
                len(amiss),
                "; ".join(map(plain, amiss[:SHOWN_DIFFERENCES])),
            )
        elif self._is_due("fight"):
            log.error("%s changes our tables again and again: mended %d times, and it goes on", who, fights)

    def _is_due(self, kind: str) -> bool:
        now = self._clock.now()
        if now - self._said_at.get(kind, now - AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._said_at[kind] = now
        return True


def _in_order(families: frozenset[TableFamily]) -> tuple[TableFamily, ...]:
    return tuple(family for family in TableFamily if family in families)
