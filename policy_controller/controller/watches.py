"""Runs kopf inside the operator's own loop, for ever: a watch that fails is begun anew.

Knows how kopf is started, watched over and stopped. Knows nothing of what it watches.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import kopf
from kopf._core.engines.peering import Identity

from policy_controller.clock import Clock, wait_for
from policy_controller.controller.handlers import settings
from policy_controller.controller.kinds import Kind

log = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS: Final = 60.0
"""kopf having run that long, the next failure is the first again."""
GLANCE_SECONDS: Final = 5.0
IDENTITY: Final = Identity("policy-controller")
"""Nobody is told of it. Without one kopf makes it of the user's name, which the user of a container need not have."""
WATCHER: Final = "watcher for "
"""How kopf names the task of each watch."""


class AllTasks(Collection[asyncio.Task[Any]]):
    """Every task of the loop.

    kopf cancels whatever task began after it did, unless it is told to ignore it: the loop is not kopf's alone, and
    the streams to the nodes are such tasks.
    """

    def __contains__(self, task: object) -> bool:
        """Any task is one."""
        return True

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        """The tasks of the running loop."""
        return iter(asyncio.all_tasks())

    def __len__(self) -> int:
        """How many there are."""
        return len(asyncio.all_tasks())


class Watches:
    """kopf as one of the operator's tasks."""

    def __init__(self, new_registry: Callable[[], kopf.OperatorRegistry], clock: Clock) -> None:
        self._new_registry = new_registry
        self._clock = clock
        self._stop = asyncio.Event()
        self.restarts = 0
        self.missing_since: float | None = clock.now()
        """Since when not every kind has been watched; None when all were, by the same watches, at two glances."""

    @property
    def alive(self) -> int:
        """How many kinds are being watched now."""
        return len(_watchers())

    def stop(self) -> None:
        """Make `run` end in good order."""
        self._stop.set()

    async def run(self, on_started: Callable[[], None]) -> None:
        """Watch until `stop`; `on_started` is called whenever kopf has set itself up."""
        glancing = asyncio.create_task(self._glance())
        try:
            await self._run_for_ever(on_started)
        finally:
            glancing.cancel()

    async def _glance(self) -> None:
        steady: int | None = None
        while True:
            if self.alive < len(Kind):
                steady = None
                if self.missing_since is None:
                    self.missing_since = self._clock.now()
            elif steady == self.restarts:
                self.missing_since = None
            else:
                # Watches that die as soon as they have begun are all there for a moment, after every restart.
                steady = self.restarts
            await self._clock.sleep(GLANCE_SECONDS)

    async def _run_for_ever(self, on_started: Callable[[], None]) -> None:
        failures = 0
        while not self._stop.is_set():
            began = self._clock.now()
            try:
                await self._run_once(on_started)
            except Exception as fault:  # noqa: BLE001 - whatever ended the watches, they begin anew
                log.error("the watches ended: %r", fault)
            if self._stop.is_set():
                return
            failures = 1 if self._clock.now() - began > STEADY_SECONDS else failures + 1
            self.restarts += 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
            await wait_for(self._stop, self._clock, pause)

    async def _run_once(self, on_started: Callable[[], None]) -> None:
        tasks = await kopf.spawn_tasks(
            registry=self._new_registry(),
            settings=settings(),
            identity=IDENTITY,
            standalone=True,
            clusterwide=True,
            stop_flag=self._stop,
        )
        on_started()
        try:
            await kopf.run_tasks(tasks, ignored=AllTasks())
        finally:
            await _end_leftovers()


def _watchers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(WATCHER)]


async def _end_leftovers() -> None:
    """End what kopf leaves running: when one watch fails, it forgets the others, and they would go on beside new ones."""
    left = _watchers()
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
