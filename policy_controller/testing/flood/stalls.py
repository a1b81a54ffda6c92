"""Holds up one processor again and again, so that a packet on it stays under way for a while.

A process arms thousands of timers for one moment: the kernel serves them all in one interrupt, which no packet that is
being judged there can outrun. Knows timerfd_create(2). Knows nothing of packets.
"""

import ctypes
import os
import resource
import struct
import subprocess
import sys
import time
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.laboratory import Laboratory, Node

TIMERS: Final = 15_000
"""About 0.8 ms in one interrupt on the machine this was made on."""
SPARE_DESCRIPTORS: Final = 100
AHEAD_NANOSECONDS: Final = 15_000_000
"""Longer than it takes to arm them all."""
SECOND: Final = 1_000_000_000
MONOTONIC: Final = 1
TFD_TIMER_ABSTIME: Final = 1
STALLER: Final = (sys.executable, "-c", "from policy_controller.testing.flood.stalls import main; main()")
LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Stalls:
    """Some fifty interrupts a second on one core, each of nearly a millisecond; a context manager."""

    def __init__(self, laboratory: Laboratory, node: Node, core: int) -> None:
        self._laboratory = laboratory
        self._node = node
        self._core = core

    def __enter__(self) -> Self:
        self._process: subprocess.Popen[bytes] = self._laboratory.spawn(
            self._node.namespace, (*STALLER, str(self._core))
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()


def main() -> None:
    """Hold up the core in the first argument until killed."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    wanted = TIMERS + SPARE_DESCRIPTORS
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (wanted, max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    )
    timers = [LIBC.timerfd_create(MONOTONIC, 0) for _ in range(TIMERS)]
    if -1 in timers:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    while True:
        moment = time.monotonic_ns() + AHEAD_NANOSECONDS
        # No interval, and a moment: struct itimerspec.
        setting = struct.pack("qqqq", 0, 0, *divmod(moment, SECOND))
        for timer in timers:
            LIBC.timerfd_settime(timer, TFD_TIMER_ABSTIME, setting, None)
        time.sleep(max(0, moment - time.monotonic_ns()) / SECOND)
