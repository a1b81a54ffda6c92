"""A process whose clock runs faster than the world's: what it does once an hour is seen within a minute.

Knows the system clock of the shells. Knows nothing of who goes by it. Kernels and networks are as slow as ever, so what such a
process says of how long they took is too much.
"""

import asyncio
import sys
import time

from policy_controller.clock import SystemClock


def hasten(factor: float) -> None:
    """From now on so many seconds pass in this process in one of the world."""

    def now(_: SystemClock) -> float:
        return time.monotonic() * factor

    async def sleep(_: SystemClock, seconds: float) -> None:
        await asyncio.sleep(seconds / factor)

    for name, replacement in (("now", now), ("sleep", sleep)):
        setattr(SystemClock, name, replacement)


def enforcer(factor: float) -> tuple[str, ...]:
    """The command of an enforcer that lives so fast."""
    words = "from policy_controller.testing.hastened import hasten; from policy_controller.enforcer.main import main; "
    return sys.executable, "-c", f"{words}hasten({factor!r}); main()"
