"""Waiting for a condition with a deadline, for tests of what happens by itself."""

import asyncio
from collections.abc import Callable

PATIENCE_SECONDS = 10.0
GLANCE_SECONDS = 0.005


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - any condition, not only those that have an event
            await asyncio.sleep(GLANCE_SECONDS)
