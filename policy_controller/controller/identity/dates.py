"""The time of day, by which certificates and tokens are dated.

Knows UTC. Everything that waits goes by `policy_controller.clock` instead.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Today = Callable[[], datetime]
"""The time of day in UTC."""


def today() -> datetime:
    """The computer's own."""
    return datetime.now(UTC)
