"""A flood from one pod, as long as its block lasts.

Knows how the sending process is started and ended. Knows nothing of what becomes of its packets (meters.py).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.flood.sender import Order
from policy_controller.testing.flood.streams import Stream
from policy_controller.testing.laboratory import Laboratory, Pod

SENDER: Final = (sys.executable, "-c", "from policy_controller.testing.flood.sender import main; main()")
LONGEST_SECONDS: Final = 1800.0


class Flood:
    """Streams from one pod in turn, from a process of its own; a context manager.

    `rate`: packets a second of all streams together; None is as many as one core sends. `core`: the one to run on.
    Ends by itself after LONGEST_SECONDS.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        pod: Pod,
        streams: Iterable[Stream],
        *,
        rate: int | None = None,
        core: int | None = None,
    ) -> None:
        self._laboratory = laboratory
        self._pod = pod
        self._order = Order(pod.interface, tuple(streams), rate, core, LONGEST_SECONDS)

    def __enter__(self) -> Self:
        self._process: subprocess.Popen[bytes] = self._laboratory.spawn(
            self._pod.namespace, (*SENDER, self._order.to_json())
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A stopped process would not hear it.
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No packet of it is anywhere on its way inside the block. Raises RuntimeError when it has ended by itself."""
        self._process.send_signal(signal.SIGSTOP)
        # Only at its return from the kernel does a process stop: every packet it sent has been through all hooks.
        if not _stops(self._process.pid):
            raise RuntimeError(f"the flood from {self._pod.name} has ended")
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


def _stops(child: int) -> bool:
    """Wait until the child has stopped; False when it has ended instead."""
    try:
        change = os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return False
    return change is not None and change.si_code == os.CLD_STOPPED
