"""In which order the items of a merged list stand."""

from collections.abc import Hashable, Sequence


def interleaved(wanted: Sequence[Hashable], present: Sequence[Hashable]) -> list[Hashable]:
    """All keys once: those `wanted` in that order, the others where they stood among the `present` ones.

    A key that only the present list has comes before the next wanted key that stood after it.
    """
    asked = list(dict.fromkeys(wanted))
    places = {key: index for index, key in enumerate(present)}
    others = [key for key in dict.fromkeys(present) if key not in set(asked)]
    result: list[Hashable] = []
    for key in asked:
        while others and key in places and places[others[0]] < places[key]:
            result.append(others.pop(0))
        result.append(key)
    return result + others


def woven(wanted: Sequence[Hashable], present: Sequence[Hashable]) -> list[Hashable]:
    """All keys once: those `wanted` in that order, the others as early as they stood among the `present` ones."""
    waiting = list(dict.fromkeys(wanted))
    asked, result = set(waiting), []
    for key in dict.fromkeys(present):
        if key not in asked:
            result.append(key)
        while key in waiting:
            result.append(waiting.pop(0))
    return result + waiting
