"""How often each bound was met: one counter for a program, by the name of the bound.

Knows names and counts. Knows nothing of what is bounded: each program names its own bounds (controller/bounds.py,
enforcer/bounds.py), and docs/limits.md says of each how much there may be, and what becomes of the rest.
"""

import enum
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

Bound = TypeVar("Bound", bound=enum.Enum)

NAME: Final = "limit_hits"
"""Of the metric, behind the program's prefix."""


class Hits(Collector, Generic[Bound]):
    """Of one program. May be used from any thread."""

    def __init__(self, prefix: str, bounds: type[Bound]) -> None:
        self._prefix = prefix
        self._bounds = bounds
        self._counting = threading.Lock()
        self._counts: Counter[Bound] = Counter()
        self._elsewhere: dict[Bound, Callable[[], int]] = {}

    def note(self, bound: Bound, times: int = 1) -> None:
        """Something was more than the bound allows."""
        with self._counting:
            self._counts[bound] += times

    def read(self, bound: Bound, count: Callable[[], int]) -> None:
        """Who meets this bound counts by itself; `count` tells how often."""
        self._elsewhere[bound] = count

    def of(self, bound: Bound) -> int:
        """How often it was met."""
        elsewhere = self._elsewhere.get(bound)
        with self._counting:
            return self._counts[bound] + (0 if elsewhere is None else elsewhere())

    def collect(self) -> Iterator[Metric]:
        """The metric, with every bound."""
        family = CounterMetricFamily(
            f"{self._prefix}_{NAME}", "How often a bound was met; docs/limits.md has them.", labels=["limit"]
        )
        for bound in self._bounds:
            family.add_metric([bound.value], self.of(bound))
        yield family
