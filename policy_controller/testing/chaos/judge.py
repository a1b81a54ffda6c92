"""The judge: which probes were leaks, which refusals, and which nobody can call either.

Fed with what was in force when, and with what became of each probe. Pure. Knows nothing of policies, processes or packets.

A state is *acceptable* for a probe from the moment its objects began to be written until one second after those of the next were;
where news was held up, until one second after all worked again. A probe all of whose acceptable states deny must not be delivered,
one all of whose acceptable states allow must be answered. All others lie in a window.
"""

import enum
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

LAG_SECONDS: Final = 1.0
"""For how long after a change both verdicts are accepted."""
MOST_TOLD: Final = 20
CHANGE: Final = "change"
"""The reason of windows that changes open."""
COMING: Final = "pods that come or go"
"""The reason where a state cannot say anything of one of the ends."""


class Expected(enum.Enum):
    """What a state says of a probe."""

    ALLOWED = "allowed"
    DENIED = "denied"
    EITHER = "either"
    """Nobody can say: one of the ends was not there yet, or not any more."""


class Seen(enum.IntEnum):
    """What became of a probe, as a number of one byte."""

    NOTHING = 0
    """Nobody got it while the prober watched attentively for long enough."""
    DELIVERED = 1
    """The destination got it, and no answer came."""
    ANSWERED = 2


class Scope(enum.Enum):
    """Which pairs a window is open for."""

    TOUCHING = "pairs with a pod on the node"
    WITHIN = "pairs of two pods on the node"


@dataclass(frozen=True, slots=True)
class Moment:
    """When one state of the objects came: `begun` before it was written, `known` once the API server had it (monotonic seconds)."""

    begun: float
    known: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which news was held up, until all worked again."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which a fault opened or closed what it liked on a node."""

    begin: float
    end: float
    node: str
    scope: Scope
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Which question a probe was: its pair as `ends` numbers it, and the nodes of both ends."""

    question: int
    source_node: str
    destination_node: str


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe: when it was sent, when it was known what became of it (monotonic seconds)."""

    asked: Asked
    sent: float
    ended: float
    seen: Seen


@dataclass(slots=True)
class Tally:
    """What it all came to. `told` holds the first leaks and refusals."""

    probes: int = 0
    allowed: int = 0
    """Probes that had to be answered."""
    denied: int = 0
    """Probes that were not to be delivered."""
    inside_windows: int = 0
    leaks: int = 0
    refusals: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Of probes inside windows, why."""
    told: list[tuple[str, Probed]] = field(default_factory=list)


class Judge:
    """Knows all moments, stretches and windows of a run; `expected` says what state number n says of a question."""

    def __init__(
        self,
        moments: Sequence[Moment],
        stretches: Sequence[Stretch],
        windows: Iterable[Window],
        expected: Callable[[int], Sequence[Expected]],
    ) -> None:
        self._begins = [moment.begun for moment in moments]
        self._untils = _untils(moments, stretches)
        self._windows = sorted(windows, key=lambda window: window.begin)
        self._longest = max((window.end - window.begin for window in self._windows), default=0.0)
        self._starts = [window.begin for window in self._windows]
        self._expected = expected

    def tally(self, probes: Iterable[Probed]) -> Tally:
        """Judge all probes."""
        tally = Tally()
        for probe in probes:
            self._count(probe, tally)
        return tally

    def _count(self, probe: Probed, tally: Tally) -> None:
        tally.probes += 1
        reason = self._window(probe)
        verdict, why = (Expected.EITHER, reason) if reason else self._verdict(probe)
        match verdict:
            case Expected.EITHER:
                tally.inside_windows += 1
                tally.reasons[why] += 1
            case Expected.DENIED:
                tally.denied += 1
                if probe.seen is not Seen.NOTHING:
                    tally.leaks += 1
                    _tell(tally, "leak", probe)
            case Expected.ALLOWED:
                tally.allowed += 1
                if probe.seen is not Seen.ANSWERED:
                    tally.refusals += 1
                    _tell(tally, "refusal", probe)

    def _verdict(self, probe: Probed) -> tuple[Expected, str]:
        """What all acceptable states say; EITHER, with the reason, where they differ."""
        first, last = bisect_left(self._untils, probe.sent), bisect_right(self._begins, probe.ended)
        said = set(self._expected(probe.asked.question)[first:last])
        if not said or Expected.EITHER in said:
            return Expected.EITHER, COMING
        return (said.pop(), "") if len(said) == 1 else (Expected.EITHER, CHANGE)

    def _window(self, probe: Probed) -> str:
        """Why a window was open for a probe; "" when none was."""
        at = bisect_left(self._starts, probe.sent - self._longest)
        while at < len(self._windows) and self._starts[at] <= probe.ended:
            window = self._windows[at]
            if window.end >= probe.sent and _concerns(window, probe.asked):
                return window.reason
            at += 1
        return ""


def _concerns(window: Window, asked: Asked) -> bool:
    ends = (asked.source_node == window.node, asked.destination_node == window.node)
    return all(ends) if window.scope is Scope.WITHIN else any(ends)


def _untils(moments: Sequence[Moment], stretches: Sequence[Stretch]) -> list[float]:
    """Until when each state is acceptable; the last one is for ever."""
    untils: list[float] = []
    for following in moments[1:]:
        until = following.known + LAG_SECONDS
        for stretch in stretches:
            if stretch.begin <= until and following.begun <= stretch.end:
                until = max(until, stretch.end + LAG_SECONDS)
        untils.append(max(until, untils[-1] if untils else until))
    return [*untils, float("inf")]


def _tell(tally: Tally, what: str, probe: Probed) -> None:
    if sum(told == what for told, _ in tally.told) < MOST_TOLD:
        tally.told.append((what, probe))
