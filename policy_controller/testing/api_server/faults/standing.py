"""The faults in force, and the watches that are open.

Knows when a fault begins, whom it meets and when it is over. Knows nothing of HTTP: how a fault is done to a watch, the
watch knows. Belongs to one event loop.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from policy_controller.testing.api_server.faults.asked import Asked
from policy_controller.testing.api_server.faults.values import OF_OPEN_WATCHES, Fault, Requests, What

WhatT = TypeVar("WhatT", bound=What)


class Opened(Protocol):
    """A watch that is open."""

    @property
    def asked(self) -> Asked:
        """What asked for it."""
        ...

    def suffer(self, what: What) -> None:
        """Have a fault done to it now, as far as that concerns a watch that has begun; it may no longer be open then."""
        ...


@dataclass(slots=True)
class Standing:
    """A fault in force. `met` counts the requests (and open watches, or events) that it was done to."""

    number: int
    fault: Fault
    met: int = 0
    left: int | None = field(init=False)
    """How many more requests it will meet; None: no limit."""

    def __post_init__(self) -> None:
        self.left = self.fault.times


class Faults:
    """The faults of one server."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._standing: dict[int, Standing] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._opened: list[Opened] = []
        self._stopped = asyncio.Event()

    @property
    def standing(self) -> tuple[Standing, ...]:
        """The faults in force, the oldest first."""
        return tuple(self._standing.values())

    def begin(self, fault: Fault) -> Standing:
        """Put a fault into force, and do it at once to the open watches that it meets."""
        began = Standing(next(self._numbers), fault)
        self._standing[began.number] = began
        if fault.seconds is not None:
            timer = asyncio.get_running_loop().call_later(fault.seconds, self.end, began.number)
            self._timers[began.number] = timer
        if isinstance(fault.what, OF_OPEN_WATCHES):
            for opened in tuple(self._opened):
                if fault.meets(opened.asked):
                    began.met += 1
                    opened.suffer(fault.what)
        if began.left == 0:
            self.end(began.number)
        return began

    def end(self, number: int) -> bool:
        """End a fault; False when none of that number is in force."""
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        return self._standing.pop(number, None) is not None

    def clear(self) -> None:
        """End all faults."""
        for number in tuple(self._standing):
            self.end(number)

    @contextlib.contextmanager
    def during(
        self, what: What, requests: Requests | None = None, times: int | None = None
    ) -> Iterator[Standing]:
        """A fault in force for the length of the block."""
        began = self.begin(Fault(what, requests or Requests(), times))
        try:
            yield began
        finally:
            self.end(began.number)

    def meet(self, asked: Asked, *kinds: type[WhatT]) -> WhatT | None:
        """The oldest fault of these kinds that meets the request; it counts as done."""
        for one in self.standing:
            if isinstance(one.fault.what, kinds) and one.fault.meets(asked):
                one.met += 1
                if one.left is not None:
                    one.left -= 1
                    if one.left == 0:
                        self.end(one.number)
                return one.fault.what
        return None

    @contextlib.contextmanager
    def opened(self, watch: Opened) -> Iterator[None]:
        """While entered, the watch is open."""
        self._opened.append(watch)
        try:
            yield
        finally:
            self._opened.remove(watch)

    async def held(self) -> None:
        """Return when the server stops: until then, whoever hangs goes on hanging."""
        await self._stopped.wait()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """While entered, the server serves; then all faults end, and those that hang are let go."""
        self._stopped.clear()
        try:
            yield
        finally:
            self.clear()
            self._stopped.set()
