"""Lines that C libraries print on standard error, and what becomes of them.

Knows the prefix of gRPC's lines (absl/log) and a bound on how many are told. Knows no descriptor (capture.py).
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from policy_controller.logs.lines import PLACE
from policy_controller.logs.restraint import Restraint

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

_LONGEST_PREFIX: Final = 300

log = logging.getLogger(NATIVE)


@dataclass(frozen=True, slots=True)
class NativeLine:
    """One line. Its text is hostile: it may hold what a peer sent."""

    level: int
    """As in `logging`."""
    place: str | None
    """Source file and line, where the library says so."""
    text: str

    @staticmethod
    def is_whole(beginning: bytes) -> bool:
        """Whether what was printed by one write is one line: gRPC prints so, and what a peer sent may be in it."""
        return _PREFIX.fullmatch(beginning[:_LONGEST_PREFIX].decode("ascii", "replace")) is not None

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
    """Tells subscribers of every line, and the log of as many as it bears. `now` gives monotonic seconds.

    gRPC prints a line for every handshake that fails, and whoever reaches the port can make as many fail as they like.
    Subscribers are called in the thread that calls `tell`, one line at a time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._subscribers: list[Subscriber] = []
        self._restraint = Restraint(now)

    @property
    def ever(self) -> int:
        """How many lines were left out of the log."""
        return self._restraint.ever

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
        if line.level < logging.CRITICAL and not self._restraint.allows():
            return
        self.finish()
        log.log(line.level, "%s", line.text, extra={PLACE: line.place})

    def finish(self) -> None:
        """Tell how many lines were left out."""
        if left_out := self._restraint.left_out():
            log.warning("%d lines of libraries were left out", left_out)
