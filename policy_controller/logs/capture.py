"""What is printed on standard error, by whatever code of the process, line by line.

    C library ──▶ descriptor 2 ══pipe══▶ thread ──▶ take(line)        log ──▶ saved descriptor ──▶ where 2 led before

Knows descriptors and lines. Knows nothing of what a line says.

Whoever prints never waits: when the pipe is full, what is printed is lost, in whole or in part. Also lost is what the
thread has not read when the process is killed or crashes, so a library's own last words may be; `faulthandler` writes
its words to the saved descriptor. A child process that was not given a standard error of its own prints into the pipe
too, and may outlive the capture: `end` does not wait for it.
"""

import fcntl
import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

STDERR: Final = 2
PIPE_BYTES: Final = 1 << 20
"""How much may be printed before somebody reads it: what /proc/sys/fs/pipe-max-size allows everybody by default."""
LONGEST_LINE: Final = 8_192
"""Bytes; the rest of a longer line is dropped."""
END_SECONDS: Final = 5.0
"""How long the end may take: `take` waits where whoever reads the log does not read."""
_READ_BYTES: Final = 65_536

Take = Callable[[bytes], None]


class Lines:
    """Cuts a stream of bytes into lines of at most LONGEST_LINE bytes, without their ends and without empty ones."""

    def __init__(self) -> None:
        self._partial = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._keep(piece)
            yield from self.rest()
        self._keep(rest)

    def rest(self) -> Iterator[bytes]:
        """What has come of a line whose end has not."""
        line = bytes(self._partial).rstrip(b"\r")
        self._partial.clear()
        if line:
            yield line

    def _keep(self, piece: bytes) -> None:
        self._partial += piece[: LONGEST_LINE - len(self._partial)]


class Capture:
    """Takes descriptor 2 from its creation until `end`. `take` is called in one thread, which may wait for it."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._lines = Lines()
        _open_standard_error()
        self.saved = fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
        """Where descriptor 2 led, and leads again at the end."""
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):
            # Where an administrator allows less, a pipe of the usual size is only sooner full.
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._ending, self._wake = os.pipe2(os.O_CLOEXEC)
        self._stream = sys.stderr
        os.dup2(writing, STDERR)
        os.close(writing)
        sys.stderr = io.TextIOWrapper(_Lossy(), "utf-8", "backslashreplace", line_buffering=True)
        self._thread = threading.Thread(target=self._run, name="standard error", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Give descriptor 2 back; returns when all that was printed until now has been taken. `saved` stays open."""
        sys.stderr.flush()
        os.dup2(self.saved, STDERR)
        sys.stderr = self._stream
        os.close(self._wake)
        self._thread.join(END_SECONDS)
        if not self._thread.is_alive():
            os.close(self._reading)
            os.close(self._ending)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.register(self._ending, select.POLLIN)
        while self._ending not in (descriptor for descriptor, _ in poll.poll()):
            self._take_what_came()
        # No more than the pipe holds: a child process may print for ever.
        for _ in range(PIPE_BYTES // _READ_BYTES):
            if not self._take_what_came():
                break
        for line in self._lines.rest():
            self._take(line)

    def _take_what_came(self) -> bool:
        chunk = self._read()
        for line in self._lines.feed(chunk):
            self._take(line)
        return bool(chunk)

    def _read(self) -> bytes:
        try:
            return os.read(self._reading, _READ_BYTES)
        except BlockingIOError:
            return b""


def _open_standard_error() -> None:
    """A process may be started without one; the next file that is opened would then be descriptor 2."""
    try:
        os.fstat(STDERR)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != STDERR:
            os.dup2(nowhere, STDERR)
            os.close(nowhere)


class _Lossy(io.RawIOBase):
    """Descriptor 2 for Python's own prints: what does not fit is lost, as what C libraries print is."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return STDERR

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        with suppress(OSError):
            os.write(STDERR, data)
        return len(data)
