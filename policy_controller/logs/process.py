"""The log of a whole process, from start to end: loggers, warnings, uncaught exceptions, C libraries, crashes.

Knows how they are put together, and which loggers are quiet. What is told once it has ended is plain text.
"""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final

from policy_controller.logs.capture import STDERR, Capture
from policy_controller.logs.choices import LogFormat, LogLevel
from policy_controller.logs.lines import JsonLines, TextLines
from policy_controller.logs.native import NativeLine, NativeLines
from policy_controller.logs.pace import Pace

QUIET: Final = ("aiohttp", "asyncio", "grpc", "httpcore", "httpx", "kopf", "kr8s", "pyroute2")
"""Loggers of libraries that tell of every request, or of every object: heard from warnings on."""

_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}

LINES_A_SECOND: Final = 100.0
"""Of one place of the program, unless a setting says otherwise."""

_count: Final[list[Callable[[], int]]] = [lambda: 0]
"""What the log that is kept now has left out is counted by the last."""

log = logging.getLogger(__name__)


class DescriptorHandler(logging.Handler):
    """Writes each record to a descriptor at once. Where nothing can be written, nothing is said: there is no other place."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's lines."""
        left = memoryview(f"{self.format(record)}\n".encode("ascii", "backslashreplace"))
        with suppress(OSError):
            while left:
                left = left[os.write(self._descriptor, left) :]


@contextmanager
def logging_to_stderr(
    form: LogFormat, level: LogLevel, rate: float = LINES_A_SECOND
) -> Iterator[NativeLines]:
    """The process's log, for the length of the block; yields what C libraries print, for subscribers.

    `rate` is of lines a second that one place of the program may write (Pace).

    Only one at a time: it takes descriptor 2, the root logger, and the hooks for exceptions that nobody catches.
    """
    lines = NativeLines(time.monotonic)
    capture = Capture(lambda line: lines.tell(NativeLine.parse(line)), NativeLine.is_whole)
    handler = DescriptorHandler(capture.saved)
    is_text = form is LogFormat.TEXT or (form is LogFormat.AUTO and os.isatty(capture.saved))
    handler.setFormatter(TextLines() if is_text else JsonLines())
    pace = Pace(time.monotonic, rate)
    handler.addFilter(pace)
    try:
        with (
            _counted(lambda: pace.ever + lines.ever),
            _root(handler, _LEVELS[level]),
            _hooks(),
            _crashes(capture.saved),
        ):
            try:
                yield lines
            finally:
                capture.end()
                lines.finish()
    finally:
        os.close(capture.saved)


def lines_left_out() -> int:
    """How many lines the log of this process has left out; 0 where it is not kept here."""
    return _count[-1]()


@contextmanager
def _counted(count: Callable[[], int]) -> Iterator[None]:
    _count.append(count)
    try:
        yield
    finally:
        _count.remove(count)


@contextmanager
def _root(handler: logging.Handler, level: int) -> Iterator[None]:
    """All records go to this handler alone."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in QUIET}
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(before)
        for name, one in quiet.items():
            logging.getLogger(name).setLevel(one)


@contextmanager
def _hooks() -> Iterator[None]:
    """What nobody catches in a thread or a destructor is one record, not a traceback's twenty lines."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _uncaught(
    kind: type[BaseException], fault: BaseException | None, traceback: TracebackType | None
) -> None:
    log.error("an exception that nobody caught", exc_info=(kind, fault or kind(), traceback))


@contextmanager
def _crashes(descriptor: int) -> Iterator[None]:
    """What the interpreter says of a crash goes past the pipe, whose reader dies with the process."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(descriptor)
    try:
        yield
    finally:
        faulthandler.disable()
        if was_enabled:
            faulthandler.enable(STDERR)
