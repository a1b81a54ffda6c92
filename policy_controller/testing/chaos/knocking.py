"""Knocking: a process of its own that asks every pair in turn, hundreds of times a second, and writes down what it saw.

Knows stations, and when it was itself attentive: nobody is taken for silent while this process did not run
(docs/decisions/attentive-time.md). Knows nothing of policies.
"""

import asyncio
import multiprocessing
import os
import resource
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import TracebackType
from typing import BinaryIO, Final, Self

from compilers.model.words import Protocol
from policy_controller.testing.chaos.judge import Seen
from policy_controller.testing.chaos.stations import Ears, Key, Site, Station
from policy_controller.testing.chaos.verdicts import FAMILIES, SERVICES, Question
from policy_controller.testing.generators import seeded
from policy_controller.testing.probe import ProbeError
from policy_controller.testing.probe.attention import Attention

PATIENCE_SECONDS: Final = 0.3
"""Attentive seconds after which nobody is expected to answer any more."""
TICK_SECONDS: Final = 0.004
PRIORITY: Final = -15
MOST_BEHIND_SECONDS: Final = 0.1
"""What a late process does not catch up."""
REMEMBERED: Final = 4096
"""Questions that nobody answered: should one arrive all the same, it counts."""
START_SECONDS: Final = 30.0
LINE: Final = struct.Struct("=HHBBBdd")
"""Source, destination, family, service, what was seen, when it was sent, when that was known."""


@dataclass(frozen=True, slots=True)
class Settle:
    """These sites listen from now on; they are asked and ask from a time on (monotonic seconds)."""

    sites: tuple[Site, ...]
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Leave:
    """These are not any more; what is under way counts for nothing."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Only these are not asked and do not ask for a while, others do; what is under way counts for nothing."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Wait for what is under way, and end."""


Order = Settle | Leave | Rest | Stop


@dataclass(frozen=True, slots=True)
class Observed:
    """One line of what was written down."""

    question: Question
    seen: Seen
    sent: float
    ended: float


class Knocking:
    """The process, while it is open; an async context manager. `path` is written to, `rate` is questions a second."""

    def __init__(self, path: Path, rate: float, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._path = path
        self._line, far = context.Pipe()
        self._process = context.Process(target=_knock, args=(far, path, rate, seed), daemon=True)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._process.start()
        await self._heard(START_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.join)

    async def tell(self, order: Order) -> None:
        """Give an order; it is carried out when this returns. Raises ProbeError."""
        async with self._turn:
            self._line.send(order)
            await self._heard(START_SECONDS)

    async def _heard(self, seconds: float) -> None:
        if not await asyncio.to_thread(self._line.poll, seconds):
            raise ProbeError("the process that knocks does not answer")
        trouble = self._line.recv()
        if trouble:
            raise ProbeError(f"knocking: {trouble}")

    def observed(self) -> Iterator[Observed]:
        """All that was seen, once it has stopped."""
        with self._path.open("rb") as held:
            while piece := held.read(LINE.size * 4096):
                for source, destination, family, service, seen, sent, ended in LINE.iter_unpack(piece):
                    yield Observed((source, destination, family, service), Seen(seen), sent, ended)


@dataclass(slots=True)
class _Asked:
    question: Question
    sent: float
    due: float
    """In attentive seconds."""
    delivered: float | None = None
    key: Key | None = None
    release: Callable[[], None] | None = None


class _Knocker:
    """The loop of the process."""

    def __init__(self, out: BinaryIO, rate: float, seed: int) -> None:
        self._out, self._rate = out, rate
        self._rng: Random = seeded(seed)
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._ears = Ears(self._came, self._came_by_tcp, self._answered)
        self._stations: dict[int, Station] = {}
        self._resting: frozenset[int] = frozenset()
        self._waiting: dict[int, float] = {}
        """Who is not asked before a time."""
        self._asked: dict[int, _Asked] = {}
        self._by_key: dict[Key, int] = {}
        self._due: deque[int] = deque()
        self._silent: dict[int, _Asked] = {}
        self._attention = Attention()
        self._number = 0
        self._turn = 0
        self._queue: list[Question] = []

    def run(self, line: Connection) -> None:
        orders = line.fileno()
        self._epoll.register(orders, select.EPOLLIN)
        line.send("")
        next_at = time.monotonic()
        while True:
            for descriptor, _ in self._epoll.poll(TICK_SECONDS):
                if descriptor == orders:
                    order = line.recv()
                    if isinstance(order, Stop):
                        return self._end(line)
                    line.send(self._obeyed(order))
                elif descriptor in self._handlers:
                    self._handlers[descriptor]()
            now = time.monotonic()
            next_at = max(next_at, now - MOST_BEHIND_SECONDS)
            while next_at <= now and self._ask_next():
                next_at += 1 / self._rate
            self._give_up(now)

    def _end(self, line: Connection) -> None:
        while self._asked:
            for descriptor, _ in self._epoll.poll(TICK_SECONDS):
                if descriptor in self._handlers:
                    self._handlers[descriptor]()
            self._give_up(time.monotonic())
        self._out.flush()
        line.send("")

    def _obeyed(self, order: Order) -> str:
        match order:
            case Settle(sites=sites, since=since):
                for site in sites:
                    self._waiting[site.number] = since
                    self._stations[site.number] = Station(site, self._epoll, self._handlers, self._ears)
            case Leave(numbers=numbers):
                self._let_go(numbers)
                for number in numbers:
                    self._waiting.pop(number, None)
                    self._stations.pop(number).close()
            case Rest(numbers=numbers):
                self._let_go(numbers)
                self._resting = frozenset(numbers)
        self._queue.clear()
        return ""

    def _let_go(self, numbers: Iterable[int]) -> None:
        gone = frozenset(numbers)
        for kept in (self._asked, self._silent):
            for number, asked in list(kept.items()):
                if not gone.isdisjoint(asked.question[:2]):
                    self._released(asked)
                    del kept[number]

    def _ask_next(self) -> bool:
        """Whether there is anybody to ask."""
        now = time.monotonic()
        due = [number for number, since in self._waiting.items() if since <= now]
        for number in due:
            del self._waiting[number]
            self._queue.clear()
        if not self._queue:
            idle = self._resting | self._waiting.keys()
            there = [number for number in self._stations if number not in idle]
            self._queue = [
                (source, destination, family, service)
                for source in there
                for destination in there
                if source != destination
                for family in range(FAMILIES)
                for service in range(len(SERVICES))
            ]
            self._rng.shuffle(self._queue)
            self._turn += 1
        if not self._queue:
            return False
        self._ask(self._queue.pop())
        return True

    def _ask(self, question: Question) -> None:
        source, destination, family, number = question
        service = SERVICES[number]
        address = self._stations[destination].site.addresses[family]
        self._number += 1
        asked = _Asked(question, time.monotonic(), self._attention.seconds + PATIENCE_SECONDS)
        self._asked[self._number] = asked
        self._due.append(self._number)
        station = self._stations[source]
        try:
            if service.protocol is Protocol.UDP:
                station.ask(family, self._turn, address, service.port, self._number)
            else:
                asked.key, asked.release = station.connect(family, address, service.port, self._number)
                self._by_key[asked.key] = self._number
        except OSError:
            # The kernel says at once that nobody is reached; whether it should have is for the judge.
            return

    def _came(self, number: int) -> None:
        asked = self._asked.get(number)
        if asked is not None:
            asked.delivered = time.monotonic()
        elif (late := self._silent.pop(number, None)) is not None:
            self._write(late, Seen.DELIVERED, time.monotonic())

    def _came_by_tcp(self, key: Key) -> None:
        number = self._by_key.get(key)
        if number is not None:
            self._came(number)

    def _answered(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._released(asked)
            self._write(asked, Seen.ANSWERED, time.monotonic())

    def _give_up(self, now: float) -> None:
        self._attention.observe(now)
        while self._due:
            asked = self._asked.get(self._due[0])
            if asked is not None and asked.due > self._attention.seconds:
                return
            number = self._due.popleft()
            if asked is None:
                continue
            del self._asked[number]
            self._released(asked)
            if asked.delivered is not None:
                self._write(asked, Seen.DELIVERED, asked.delivered)
            else:
                self._write(asked, Seen.NOTHING, now)
                self._silent[number] = asked
                if len(self._silent) > REMEMBERED:
                    del self._silent[next(iter(self._silent))]

    def _released(self, asked: _Asked) -> None:
        if asked.key is not None:
            self._by_key.pop(asked.key, None)
        if asked.release is not None:
            asked.release()

    def _write(self, asked: _Asked, seen: Seen, ended: float) -> None:
        self._out.write(LINE.pack(*asked.question, seen, asked.sent, ended))


def _knock(line: Connection, path: Path, rate: float, seed: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with path.open("wb") as out:
            _Knocker(out, rate, seed).run(line)
    except Exception as error:  # noqa: BLE001 - told to the process that waits for it
        line.send(repr(error))
