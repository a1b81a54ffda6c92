"""Which of many labelled things a selector selects, as a bit mask: one bit a thing, in the order they were given.

Knows labels and selectors. Knows nothing of pods or namespaces.
A selector costs a few operations on whole masks, however many things there are and whoever wrote it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final

from compilers.model.selector import LabelSelector, Operator, Requirement

Mask = int
"""Bit i stands for thing i."""


def mask_of(indices: Iterable[int], size: int) -> Mask:
    """The mask of these things, of `size` there are."""
    field = bytearray((size + 7) // 8)
    for index in indices:
        field[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(field, "little")


def positions(mask: Mask) -> Iterator[int]:
    """The things in a mask, ascending."""
    text = format(mask, "b")[::-1]
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)


WORTH_KEEPING: Final = 256
"""Things that carry a label before its mask is kept: that of fewer is quickly made, and there may be a hundred thousand."""


class LabelIndex:
    """An index over the labels of a fixed row of things."""

    def __init__(self, labels: Sequence[Mapping[str, str]]) -> None:
        self._size = len(labels)
        self.everything: Mask = (1 << self._size) - 1
        self._carriers: dict[str, dict[str, list[int]]] = {}
        self._masks: dict[tuple[str, str], Mask] = {}
        for index, one in enumerate(labels):
            for key, value in one.items():
                self._carriers.setdefault(key, {}).setdefault(value, []).append(index)

    def select(self, selector: LabelSelector) -> Mask:
        """The things that the selector selects."""
        mask = self.everything
        for key, value in selector.match_labels:
            mask &= self._with(key, (value,))
        for requirement in selector.match_expressions:
            mask &= self._meeting(requirement)
        return mask

    def _meeting(self, requirement: Requirement) -> Mask:
        key = requirement.key
        match requirement.operator:
            case Operator.IN:
                return self._with(key, requirement.values)
            case Operator.NOT_IN:
                # Kubernetes, "Labels and Selectors": NotIn also selects the objects that have no such key.
                return self.everything & ~self._with(key, requirement.values)
            case Operator.EXISTS:
                return self._with(key, self._carriers.get(key, ()))
            case Operator.DOES_NOT_EXIST:
                return self.everything & ~self._with(key, self._carriers.get(key, ()))

    def _with(self, key: str, values: Iterable[str]) -> Mask:
        held = self._carriers.get(key, {})
        return reduce(or_, (self._pair(key, value, held[value]) for value in values if value in held), 0)

    def _pair(self, key: str, value: str, carriers: Sequence[int]) -> Mask:
        if (key, value) in self._masks:
            return self._masks[key, value]
        mask = mask_of(carriers, self._size)
        if len(carriers) > WORTH_KEEPING:
            self._masks[key, value] = mask
        return mask
