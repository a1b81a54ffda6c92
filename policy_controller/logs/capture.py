"""What is printed on standard error, by whatever code of the process, line by line.

    C library ──▶ descriptor 2 ══pipe══▶ thread ──▶ take(line)        log ──▶ saved descriptor ──▶ where 2 led before

Knows descriptors and lines. Knows nothing of what a line says.

What a library prints may hold what a peer sent, and so ends of lines. The pipe keeps apart what was printed by one write
(pipe(2), O_DIRECT), and who looks at the beginning of a print can say that all of it is one line.

Whoever prints never waits: when the pipe is full, what is printed is lost, in whole or in part. Also lost is what the
thread has not read when the process is killed or crashes, so a library's own last words may be; `faulthandler` writes
its words to the saved descriptor. A child process that was not given a standard error of its own prints into the pipe
too, and may outlive the capture: `end` does not wait for it.
"""

import fcntl
import io
import mmap
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
_PAGE_BYTES: Final = mmap.PAGESIZE
"""What one read takes: a print, or the part of a longer one that the kernel has put into a page of the pipe."""

Take = Callable[[bytes], None]


IsWhole = Callable[[bytes], bool]
"""Whether a print that begins so is one line, whatever else it holds."""


class Lines:
    """Cuts what is printed into lines of at most LONGEST_LINE bytes, without their ends and without empty ones."""

    def __init__(self, is_whole: IsWhole) -> None:
        self._is_whole = is_whole
        self._partial = bytearray()
        self._inside = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that are whole now; a chunk is one print, or a page of one."""
        if not self._inside and self._is_whole(chunk):
            yield from self.rest()
            self._inside = True
        if self._inside:
            self._keep(chunk)
            if len(chunk) < _PAGE_BYTES:
                self._inside = False
                yield from self.rest()
            return
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._keep(piece)
            yield from self.rest()
        self._keep(rest)

    def rest(self) -> Iterator[bytes]:
        """What has come of a line whose end has not."""
        line = bytes(self._partial).rstrip(b"\r\n")
        self._partial.clear()
        if line:
            yield line

    def _keep(self, piece: bytes) -> None:
        self._partial += piece[: LONGEST_LINE - len(self._partial)]


class Capture:
    """Takes descriptor 2 from its creation until `end`. `take` is called in one thread, which may wait for it."""

    def __init__(self, take: Take, is_whole: IsWhole) -> None:
        self._take = take
        _open_standard_error()
        self.saved = fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
        """Where descriptor 2 led, and leads again at the end."""
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):
            # Where an administrator allows less, a pipe of the usual size is only sooner full.
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._lines = Lines(is_whole if _keeps_prints_apart(writing) else lambda _: False)
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
        # No more than the pipe holds, where each print has a page: a child process may print for ever.
        for _ in range(PIPE_BYTES // _PAGE_BYTES):
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
            return os.read(self._reading, _PAGE_BYTES)
        except BlockingIOError:
            return b""


def _keeps_prints_apart(pipe: int) -> bool:
    """Make it so; not every kernel can that containers run on."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
    except OSError:
        return False
    return True


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
