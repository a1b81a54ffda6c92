"""How much a run of the suite tries: what every change must pass, or what takes longer and is run for the record.

Knows two words. Knows nothing of tests: each says for itself what it does more of.
"""

import enum
from typing import TypeVar

T = TypeVar("T")


class Extent(enum.Enum):
    """`make test` runs SHORT, `make test-all` WHOLE."""

    SHORT = "short"
    WHOLE = "whole"

    def choose(self, short: T, whole: T) -> T:
        """The figure for this extent: how many clusters, seconds or rounds."""
        return whole if self is Extent.WHOLE else short
