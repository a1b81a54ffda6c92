"""The legend of a rule set: who the addresses are that a node's pods and the members of its sets have.

Knows names. Decides about no packet: where there are more names than a message has room for, some addresses have none.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

from compilers.compile.selection import Selection
from compilers.model.words import Address
from compilers.ruleset.parts import LegendEntry

MOST_CHARACTERS: Final = 32 << 20
"""Of all entries of a node together, addresses at 16 each; the names of 100,000 pods commonly take half of it."""


class Legends:
    """The entries of the pods of one cluster state; nodes share them."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._entry = cache(self._new_entry)

    def of(self, own: Iterable[int], others: Iterable[int]) -> dict[Address, LegendEntry]:
        """The legend of a node with these pods of its own and these members of its sets, by their places."""
        legend: dict[Address, LegendEntry] = {}
        room = MOST_CHARACTERS
        for place in dict.fromkeys((*own, *sorted(others))):
            entry, addresses = self._entry(place), self._selection.addresses[place]
            room -= _characters(entry) + 16 * len(addresses)
            if room < 0:
                return legend
            legend.update(dict.fromkeys(addresses, entry))
        return legend

    def _new_entry(self, place: int) -> LegendEntry:
        pod = self._selection.pods[place]
        workload = pod.workload
        return LegendEntry(
            namespace=pod.namespace,
            pod=pod.name,
            uid=pod.uid,
            workload_kind=workload.kind if workload else "",
            workload_name=workload.name if workload else "",
        )


def _characters(entry: LegendEntry) -> int:
    return sum(map(len, (entry.namespace, entry.pod, entry.uid, entry.workload_kind, entry.workload_name)))
