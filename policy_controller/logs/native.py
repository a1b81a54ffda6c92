"""Lines that C libraries print on standard error, and what becomes of them.

Knows the prefix of gRPC's lines (absl/log) and a bound on how many are told. Knows no descriptor (capture.py).
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from policy_controller.logs.lines import PLACE

NATIVE: Final = "native"
"""The logger of such lines."""

_LEVELS: Final[Mapping[str, int]] = {
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
    "F": logging.CRITICAL,
}
# absl/log/internal/log_format.cc: level, month and day, time, thread, file and line, `] `.
_PREFIX: Final = re.compile(
    r"(?P<level>[IWEF])\d{4} [\d:.]{5,24} +\d{1,20} (?P<place>[^\s\]]{1,200}:\d{1,9})\] ?(?P<text>.*)",
    re.DOTALL,
)

BURST: Final = 100
EACH_SECOND: Final = 10.0
"""Lines that are told: at once, and each second from then on. gRPC prints a line for every handshake that fails, and
whoever reaches the port can make as many fail as they like. Subscribers are told of all."""

log = logging.getLogger(NATIVE)


@dataclass(frozen=True, slots=True)
class NativeLine:
    """One line. Its text is hostile: it may hold what a peer sent."""

    level: int
    """As in `logging`."""
    place: str | None
    """Source file and line, where the library says so."""
    text: str

    @classmethod
    def parse(cls, line: bytes) -> "NativeLine":
        """The parts of a gRPC line; any other line is a warning: nobody prints there without cause."""
        text = line.decode("utf-8", "backslashreplace")
        found = _PREFIX.fullmatch(text)
        if found is None:
            return cls(logging.WARNING, None, text)
        return cls(_LEVELS[found["level"]], found["place"], found["text"])


Subscriber = Callable[[NativeLine], None]


class NativeLines:
    """Tells the log and subscribers of every line. `now` gives monotonic seconds.

    Subscribers are called in the thread that calls `tell`, one line at a time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._subscribers: list[Subscriber] = []
        self._room = float(BURST)
        self._filled = now()
        self._left_out = 0

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call it with every line from now on; it must not block."""
        self._subscribers.append(subscriber)

    def tell(self, line: NativeLine) -> None:
        """Tell everybody. What a subscriber raises is told, and keeps nothing from the others."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(line)
            except Exception:
                log.exception("a line of a library could not be taken")
        if line.level < logging.CRITICAL and not self._may_be_told():
            self._left_out += 1
            return
        self.finish()
        log.log(line.level, "%s", line.text, extra={PLACE: line.place})

    def finish(self) -> None:
        """Tell how many lines were left out."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("%d lines of libraries were left out", left_out)

    def _may_be_told(self) -> bool:
        now = self._now()
        self._room = min(BURST, self._room + (now - self._filled) * EACH_SECOND)
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True
