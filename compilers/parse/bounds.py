"""How much of one object is read, and how many of its faults are told.

Knows numbers. Knows nothing of what is counted.
An API server stores objects of a megabyte and more. To read one takes time in which no other is read, so what is beyond
these bounds is not read at all: it is a fault, and closes what a fault there closes.
"""

from typing import Final

MOST_VALUES: Final = 32_768
"""Mappings, lists, strings and numbers in `ingress`, in `egress`, or in `podSelector`: a third of a second to read."""
MOST_COMBINATIONS: Final = 8_192
"""Of a peer and a port, in all rules of one direction; each becomes a rule of the kernel, or one for each family."""
MOST_FAULTS: Final = 100
"""Of one object that are told; what closes does not depend on how many there are."""


def holds_more(value: object, most: int) -> bool:
    """Whether there are more than so many values in a tree; does not look at more of it than that."""
    waiting, count = [value], 0
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        if count + len(waiting) > most:
            return True
    return False


def combinations(rules: object, peer_field: str) -> int:
    """How many combinations of a peer and a port the rules of one direction list; 0 where they are no rules."""
    listed = rules if isinstance(rules, list) else []
    return sum(
        _length(rule.get(peer_field)) * _length(rule.get("ports"))
        for rule in listed
        if isinstance(rule, dict)
    )


def _length(value: object) -> int:
    # Absent and empty mean every peer, every port: one rule.
    return len(value) if isinstance(value, list) and value else 1
