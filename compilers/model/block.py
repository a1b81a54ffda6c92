"""Address blocks: an ipBlock, and the arithmetic of disjoint ranges.

Knows networks and ranges of one family. Knows nothing of who owns an address.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from compilers.model.faults import InvalidField
from compilers.model.words import Address, Family, Network, family_of

Range = tuple[int, int]
"""First and last address of a range as numbers, both inside it."""


@dataclass(frozen=True, slots=True)
class IpBlock:
    """The addresses of `cidr` without those of `excepts` (networking/v1 IPBlock).

    API: "Except values will be rejected if they are outside the cidr range". Equal to the cidr is inside as far as
    this type goes: what remains is then empty; the parser refuses it in files, as the API server does.
    """

    cidr: Network
    excepts: tuple[Network, ...] = ()

    def __post_init__(self) -> None:
        for index, block in enumerate(self.excepts):
            if family_of(block) is not family_of(self.cidr) or not _inside(block, self.cidr):
                raise InvalidField(f"{block} is outside {self.cidr}", ("except", index))

    @property
    def family(self) -> Family:
        """The family of every address in the block: `0.0.0.0/0` is IPv4 only, `::/0` IPv6 only."""
        return family_of(self.cidr)

    def contains(self, address: Address) -> bool:
        """Whether the address is in the cidr and in none of the excepts."""
        if family_of(address) is not self.family:
            return False
        return address in self.cidr and not any(address in block for block in self.excepts)

    def ranges(self) -> tuple[Range, ...]:
        """The block as disjoint, sorted ranges that do not touch each other."""
        return subtract([network_range(self.cidr)], [network_range(block) for block in self.excepts])

    def __str__(self) -> str:
        without = f" except {', '.join(map(str, self.excepts))}" if self.excepts else ""
        return f"{self.cidr}{without}"


def _inside(inner: Network, outer: Network) -> bool:
    low, high = network_range(inner)
    first, last = network_range(outer)
    return first <= low and high <= last


def network_range(network: Network) -> Range:
    """First and last address of a network."""
    return int(network.network_address), int(network.broadcast_address)


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The union as disjoint, sorted ranges; ranges that overlap or touch become one."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> tuple[Range, ...]:
    """The ranges without the holes, disjoint and sorted."""
    left: list[Range] = []
    waiting = iter(merge(holes))
    hole = next(waiting, None)
    # Both are sorted: each is walked over once, because an object may bring a hundred thousand of either.
    for first, last in merge(ranges):
        start = first
        while hole is not None and hole[0] <= last:
            if start < hole[0]:
                left.append((start, hole[0] - 1))
            start = max(start, hole[1] + 1)
            if hole[1] > last:
                break
            hole = next(waiting, None)
        if start <= last:
            left.append((start, last))
    return tuple(left)
