"""What a log may look like and tell, as settings say it.

Knows words.
"""

import enum


class LogFormat(enum.Enum):
    """How a record is written."""

    AUTO = "auto"
    """As text where standard error is a terminal, else as JSON."""
    JSON = "json"
    TEXT = "text"


class LogLevel(enum.Enum):
    """The least level that is told."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
