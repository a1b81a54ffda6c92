"""What restarts are counted as, and who is restarted.

Knows the names of processes and of counts.
"""

from collections.abc import Callable
from typing import Final

from policy_controller.testing.installation.installation import OPERATOR, enforcer_of
from policy_controller.testing.installation.tests.town import NODES
from policy_controller.testing.probe import Tally

Record = Callable[[str, object], None]

ENFORCERS: Final = tuple(map(enforcer_of, NODES))
ALL: Final = (OPERATOR, *ENFORCERS)
ENDED: Final = {"operator": (OPERATOR,), "enforcers": ENFORCERS, "both": ALL}
AWAY_SECONDS: Final = 0.3
"""How long a process is away before it is started again."""
MOST_BETWEEN_MS: Final = 500.0
"""A machine that is so busy that it probes more rarely sees no short gap."""


def record(tally: Tally, restarts: int, record_property: Record) -> None:
    """Count, and fail where the probing was too rare to see anything."""
    record_property("restarts", restarts)
    record_property("restart probes", tally.probes)
    record_property("restart heartbeats of open connections", tally.heartbeats)
    record_property("restart leaks", tally.leaks)
    record_property("restart refusals", tally.refusals)
    # 99 of 100 probes of a pair follow the one before within this.
    assert tally.usual_gap_ms < MOST_BETWEEN_MS, tally
