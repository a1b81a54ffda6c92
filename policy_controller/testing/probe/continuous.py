"""Continuous probing of many pairs from a process of its own, while something else is done to the network.

Every pair is asked every few milliseconds, by one packet each time, and long-lived connections carry a heartbeat. Knows what
each pair should see, and counts leaks and refusals. Knows nothing of who enforces.
"""

import asyncio
import enum
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.probe.conversation import Conversation
from policy_controller.testing.probe.listeners import Listener
from policy_controller.testing.probe.model import Outcome, Probe, ProbeError, ProbeResult, Transport
from policy_controller.testing.probe.prober import Prober

EVERY_MS: Final = 30.0
PRIORITY: Final = -15
STARTED, STOP = "started", "stop"
START_SECONDS: Final = 30.0
LAST_SECONDS: Final = 1.5
"""How long probing goes on when it is to end: what was asked before has been answered by then, or never will be."""
MOST_TOLD: Final = 10


class Expected(enum.Enum):
    """What a pair should see all the time."""

    ALLOWED = "allowed"
    DENIED = "denied"


ANSWERED: Final = frozenset({Outcome.ACCEPTED, Outcome.REFUSED})
"""Somebody was reached: where a denied pair sees this, something leaked."""


def is_refused(result: ProbeResult) -> bool:
    """Whether an allowed pair saw anything but an answer, or TCP had to send a segment again to get it."""
    return result.outcome is not Outcome.ACCEPTED or result.repeats > 0


@dataclass(frozen=True, slots=True)
class Pair:
    """One question and what should become of it."""

    probe: Probe
    expected: Expected


@dataclass(frozen=True, slots=True)
class Tally:
    """What was seen. `leaks` (somebody answered a denied pair) and `refusals` (an allowed pair got no answer, or only after TCP
    had sent a segment again, or a heartbeat did) are counts, `told` describes the first of each; gaps are in milliseconds between two
    probes of one pair.
    """

    probes: int
    heartbeats: int
    leaks: int
    refusals: int
    told: tuple[str, ...]
    usual_gap_ms: float
    longest_gap_ms: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing leaked and nothing was refused."""
        return not self.leaks and not self.refusals


class ContinuousProbing:
    """Probes the pairs while it is open; a context manager. `listeners` answer in the same process.

    A heartbeat goes over a TCP connection of each allowed TCP pair that was opened at the start. Raises ProbeError when
    the process does not start.
    """

    def __init__(self, listeners: Iterable[Listener], pairs: Iterable[Pair]) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, far = context.Pipe()
        self._process = context.Process(
            target=_probe, args=(tuple(listeners), tuple(pairs), far), daemon=True
        )
        self._tally: Tally | None = None

    def __enter__(self) -> Self:
        self._process.start()
        if not self._line.poll(START_SECONDS):
            self._process.kill()
            raise ProbeError("continuous probing did not start")
        answer = self._line.recv()
        if answer != STARTED:
            raise ProbeError(f"continuous probing did not start: {answer}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def stop(self) -> Tally:
        """Say what was seen of all that was asked until now, and end."""
        self._line.send(STOP)
        tally: Tally = self._line.recv()
        return tally


def _probe(listeners: tuple[Listener, ...], pairs: tuple[Pair, ...], line: Connection) -> None:
    # Processes that start want a processor each; probing goes on beside them.
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:
        asyncio.run(_probed(listeners, pairs, line))
    except Exception as error:  # noqa: BLE001 - told to the process that waits for it
        line.send(repr(error))


async def _probed(listeners: Sequence[Listener], pairs: Sequence[Pair], line: Connection) -> None:
    stopped = asyncio.Event()
    async with Prober() as prober:
        for listener in listeners:
            prober.listen(listener)

        def started() -> None:
            line.send(STARTED)
            asyncio.get_running_loop().add_reader(line.fileno(), stopped.set)

        tally = await probe_until(stopped, prober, pairs, started)
        asyncio.get_running_loop().remove_reader(line.fileno())
    line.send(tally)


async def probe_until(
    stopped: asyncio.Event, prober: Prober, pairs: Sequence[Pair], started: Callable[[], None]
) -> Tally:
    """Probe the pairs from this process until stopped; `started` is called once all are asked. Raises ProbeError."""
    async with AsyncExitStack() as stack:
        hearts = [await _heart(prober, pair.probe) for pair in pairs if _has_heart(pair)]
        for heart in hearts:
            stack.callback(heart.close)
        watches = [
            await stack.enter_async_context(prober.watch(pair.probe, every_ms=EVERY_MS)) for pair in pairs
        ]
        beating = [asyncio.create_task(_beat(heart, stopped)) for heart in hearts]
        started()
        await stopped.wait()
        await asyncio.sleep(LAST_SECONDS)
        beats = [result for task in beating for result in await task]
        results = [list(watch.results) for watch in watches]
    return _tally(pairs, results, beats)


def _has_heart(pair: Pair) -> bool:
    return pair.expected is Expected.ALLOWED and pair.probe.transport is Transport.TCP


async def _heart(prober: Prober, probe: Probe) -> Conversation:
    if probe.port is None:
        raise ProbeError("a heartbeat needs a port")
    return await prober.converse(probe.source, probe.destination, probe.port)


async def _beat(heart: Conversation, stopped: asyncio.Event) -> list[ProbeResult]:
    results = []
    while not stopped.is_set():
        results.append(await heart.exchange())
        await asyncio.sleep(EVERY_MS / 1000)
    return results


def _tally(
    pairs: Sequence[Pair], results: Sequence[list[ProbeResult]], beats: Sequence[ProbeResult]
) -> Tally:
    leaks: list[ProbeResult] = []
    refusals: list[ProbeResult] = []
    gaps: list[float] = []
    for pair, seen in zip(pairs, results, strict=True):
        if pair.expected is Expected.ALLOWED:
            refusals += filter(is_refused, seen)
        else:
            leaks += (result for result in seen if result.outcome in ANSWERED)
        moments = sorted(result.sent_at for result in seen)
        gaps += [(later - earlier) * 1000 for earlier, later in pairwise(moments)]
    refusals += filter(is_refused, beats)
    gaps.sort()
    return Tally(
        probes=sum(map(len, results)),
        heartbeats=len(beats),
        leaks=len(leaks),
        refusals=len(refusals),
        told=tuple(_told(result) for result in (*leaks[:MOST_TOLD], *refusals[:MOST_TOLD])),
        usual_gap_ms=gaps[len(gaps) * 99 // 100] if gaps else 0.0,
        longest_gap_ms=gaps[-1] if gaps else 0.0,
    )


def _told(result: ProbeResult) -> str:
    probe = result.probe
    ago = time.monotonic() - result.sent_at
    return (
        f"{probe.source.namespace} -> {probe.destination} {probe.transport.value} {probe.port}: "
        f"{result.outcome.value} ({result.reason}; {result.repeats} segments sent again), {ago:.2f} s before the end"
    )
