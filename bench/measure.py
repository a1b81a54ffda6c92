"""Figures: what was measured many times, and the few numbers that are told of it.

Knows samples, medians and ratios of pairs. Knows nothing of what is measured.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

MILLISECONDS: Final = 1e3
MICROSECONDS: Final = 1e6
NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Measured:
    """One benchmark's answer: its name and its metrics, each a number whose name ends in its unit."""

    name: str
    metrics: Mapping[str, float]


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, by the wall clock."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def repeated(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each of so many calls, after one that does not count."""
    work()
    return [seconds(work) for _ in range(rounds)]


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection inside the block, so that none falls into one sample and not into another."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def median(samples: Iterable[float], scale: float) -> float:
    """The median, in another unit."""
    return round(statistics.median(samples) * scale, 4)


def high(samples: Sequence[float], scale: float) -> float:
    """The value that 95 of 100 samples do not exceed, in another unit."""
    in_order = sorted(samples)
    return round(in_order[min(len(in_order) - 1, int(len(in_order) * 0.95))] * scale, 4)


def ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """The median of the ratios of pairs, second to first: each pair was measured side by side."""
    return round(statistics.median(second / first for first, second in pairs), 4)
