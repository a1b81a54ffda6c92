"""Settings that every program has: how its log looks, and how much of it there may be.

Knows names, defaults and bounds, once for all tables.
"""

from policy_controller.logs import LogFormat, LogLevel
from policy_controller.settings import kinds
from policy_controller.settings.table import setting


def log_format() -> LogFormat:
    """The field `log_format` of a table."""
    return setting(
        kinds.choice(LogFormat),
        "One JSON object a line, or readable text; `auto`: text on a terminal.",
        "auto",
    )


def log_level() -> LogLevel:
    """The field `log_level` of a table."""
    return setting(
        kinds.choice(LogLevel), "The least level that is told; libraries are told from `warning` on.", "info"
    )


def log_rate() -> float:
    """The field `log_rate` of a table."""
    return setting(
        kinds.number("LINES", 1, 100_000),
        "Lines a second that one place of the program may write to the log, after ten times as many at once; the rest is counted.",
        "100",
    )
