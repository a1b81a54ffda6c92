"""How often hypothesis tries, and how long one reader may take.

Knows the extent of a run. Knows no reader. A short run tries the same every time: what fails in it, fails for everybody. A
whole one looks for what nobody has seen yet; hypothesis prints what makes it happen again.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from hypothesis import HealthCheck, settings

from policy_controller.testing.extent import Extent

Check = TypeVar("Check", bound=Callable[[], None])

SECONDS: Final = 10.0
"""Of one processor, for an input of a size that somebody else decides; what is linear takes a fraction."""


def tries(extent: Extent, short: int, whole: int) -> Callable[[Check], Check]:
    """Decorates a check that hypothesis calls: so often."""
    return settings(
        max_examples=extent.choose(short, whole),
        derandomize=extent is Extent.SHORT,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def processor_seconds(read: Callable[[], object]) -> float:
    """What one reading takes of this thread's processor: others that are busy do not count."""
    before = time.thread_time()
    read()
    return time.thread_time() - before
