"""Meters: how many packets of each stream came to the gates, went past them, and arrived.

Knows marks, hooks and counters of nft. Knows nothing of the gates' own table: it counts in tables of its own, just before
and just after, in the same walk of a packet over the hooks, so no packet is lost or gained in between.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.flood.streams import Stream
from policy_controller.testing.laboratory import inside

TABLE: Final = "flood-meters"
SEEN, PAST, ARRIVED = "seen", "past", "arrived"
HOOKS: Final = ("forward", "input")
"""Where gates stand on a node."""
PRIORITY: Final = {SEEN: -5, PAST: 5}
"""The gates are at 0 (filter)."""
ARRIVING: Final = "eth0"


@dataclass(frozen=True, slots=True)
class Count:
    """Packets of one stream: seen before the gates of all nodes, past them, and arrived at the far end's interface."""

    seen: int = 0
    past: int = 0
    arrived: int = 0

    def __sub__(self, earlier: "Count") -> "Count":
        return Count(self.seen - earlier.seen, self.past - earlier.past, self.arrived - earlier.arrived)

    def __add__(self, other: "Count") -> "Count":
        return Count(self.seen + other.seen, self.past + other.past, self.arrived + other.arrived)


Counts = Mapping[str, Count]
"""By name of the stream."""


class Meters:
    """Counts the streams in these namespaces; a context manager.

    In `nodes` around the gates; in `ends` at the interface eth0, where counted packets end: nobody answers them.
    Raises RuntimeError when nft refuses.
    """

    def __init__(self, nodes: Iterable[str], ends: Iterable[str], streams: Iterable[Stream]) -> None:
        self._nodes = tuple(nodes)
        self._ends = tuple(ends)
        self._streams = tuple(streams)
        if len({stream.mark for stream in self._streams}) != len(self._streams):
            raise ValueError("two streams have one mark")

    def __enter__(self) -> Self:
        for namespace in self._nodes:
            _load(namespace, _node_table(self._streams))
        for namespace in self._ends:
            _load(namespace, _end_table(self._streams))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for namespaces, family in ((self._nodes, "inet"), (self._ends, "netdev")):
            for namespace in namespaces:
                _nft(namespace, "delete", "table", family, TABLE)

    def read(self) -> Counts:
        """What was counted since the meters were put up."""
        # The far ends first: what has arrived by then has been seen when the nodes are read.
        found: dict[tuple[str, int], int] = {}
        for namespaces, family in ((self._ends, "netdev"), (self._nodes, "inet")):
            for namespace in namespaces:
                for name, packets in _counters(namespace, family):
                    place, _, index = name.partition("-")
                    key = (place, int(index))
                    found[key] = found.get(key, 0) + packets
        return {
            stream.name: Count(*(found.get((place, index), 0) for place in (SEEN, PAST, ARRIVED)))
            for index, stream in enumerate(self._streams)
        }


def _node_table(streams: Sequence[Stream]) -> str:
    lines = [f"table inet {TABLE} {{"]
    lines += [f"counter {place}-{index} {{\n}}" for place in PRIORITY for index in range(len(streams))]
    for hook in HOOKS:
        for place, priority in PRIORITY.items():
            lines += [f"chain {hook}-{place} {{", f"type filter hook {hook} priority {priority}"]
            lines += [*_counting(place, streams), "}"]
    return "\n".join((*lines, "}\n"))


def _end_table(streams: Sequence[Stream]) -> str:
    lines = [f"table netdev {TABLE} {{"]
    lines += [f"counter {ARRIVED}-{index} {{\n}}" for index in range(len(streams))]
    lines += ["chain arriving {", f'type filter hook ingress device "{ARRIVING}" priority 0']
    lines += [f"{rule} drop" for rule in _counting(ARRIVED, streams)]
    return "\n".join((*lines, "}", "}\n"))


def _counting(place: str, streams: Sequence[Stream]) -> list[str]:
    # After the eight bytes of the UDP header.
    return [
        f"meta l4proto udp @th,64,32 {stream.mark:#010x} counter name {place}-{index}"
        for index, stream in enumerate(streams)
    ]


def _counters(namespace: str, family: str) -> Iterable[tuple[str, int]]:
    listed = json.loads(_nft(namespace, "--json", "list", "counters", "table", family, TABLE))
    for entry in listed["nftables"]:
        if "counter" in entry:
            yield entry["counter"]["name"], entry["counter"]["packets"]


def _load(namespace: str, text: str) -> None:
    _nft(namespace, "--file", "-", text=text)


def _nft(namespace: str, *words: str, text: str = "") -> str:
    with inside(namespace):
        done = subprocess.run(  # noqa: S603 - a fixed program; what it reads is made of numbers here
            ("nft", *words),  # noqa: S607 - make system installs it
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"nft in {namespace}: {done.stderr}")
    return done.stdout
