"""How much of a rule set one class and one node may take up, and which classes are closed when it does not suffice.

Knows numbers and sizes. Knows nothing of policies or selectors.
A node's kernel, and the message that carries its rule set, have room for so much. Whoever may write policies could fill
it, and the rule set of the node would not go through as a whole. So what is too large is closed by itself: the pods of
that class admit nothing in that direction, and everything else of the node is served.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Room:
    """The most that one class or one node may have of each thing."""

    policies: int
    """Policies of all classes, each counted in every class it is in."""
    rules: int
    sets: int
    """Peer sets, named-port sets and block sets."""
    elements: int
    """Addresses and named ports of all sets."""
    ranges: int
    """Ranges of all block sets. The kernel reads them all back at every change of an element of any set."""


CLASS: Final = Room(policies=16_384, rules=16_384, sets=2_048, elements=524_288, ranges=32_768)
"""What one class may take up. Loading 16,384 rules takes the kernel a third of a second."""
NODE: Final = Room(policies=32_768, rules=65_536, sets=4_096, elements=1_048_576, ranges=65_536)
"""What all classes of a node may: several times what 500 pods need in a cluster of 100,000."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What classes and nodes of one installation may take up."""

    of_class: Room = CLASS
    of_node: Room = NODE


ROOMS: Final = Rooms()
MOST_PODS: Final = 4_096
"""Of one node, those included that are only bound to it."""
WORDS: Final[Mapping[str, str]] = {
    "policies": "policies that select the same pods",
    "rules": "rules",
    "sets": "different selectors, blocks and port names",
    "elements": "addresses of peers",
    "ranges": "ranges of addresses in ipBlocks",
}
"""Each thing in the words of whoever writes policies."""


@dataclass(slots=True)
class Load:
    """What classes take up together; a set that several use counts once."""

    policies: int = 0
    rules: int = 0
    elements: dict[str, int] = field(default_factory=dict)
    """By name of the peer set or named-port set."""
    ranges: dict[str, int] = field(default_factory=dict)
    """By name of the block set."""

    def and_(self, other: "Load") -> "Load":
        """Both together."""
        return Load(
            self.policies + other.policies,
            self.rules + other.rules,
            self.elements | other.elements,
            self.ranges | other.ranges,
        )

    def counts(self) -> Mapping[str, int]:
        """How much there is of each thing that a Room bounds."""
        return {
            "policies": self.policies,
            "rules": self.rules,
            "sets": len(self.elements) + len(self.ranges),
            "elements": sum(self.elements.values()),
            "ranges": sum(self.ranges.values()),
        }

    def beyond(self, room: Room) -> str | None:
        """The first thing of which there is more than the room allows."""
        return next((name for name, count in self.counts().items() if count > getattr(room, name)), None)

    def share(self, room: Room) -> float:
        """The largest part of the room that any one thing takes up."""
        return max(float(count / getattr(room, name)) for name, count in self.counts().items())


def closed(loads: Mapping[Key, Load], order: Mapping[Key, str], room: Room) -> Mapping[Key, str]:
    """The classes that do not fit into the room beside the others, each with the thing that is too much.

    Small ones are let in first: whoever takes up much cannot push out the many who take up little. `order` decides
    between equals.
    """
    if sum_of(loads).beyond(room) is None:
        return {}
    left_out: dict[Key, str] = {}
    taken = Load()
    for key in sorted(loads, key=lambda key: (loads[key].share(room), order[key])):
        together = taken.and_(loads[key])
        beyond = together.beyond(room)
        if beyond is None:
            taken = together
        else:
            left_out[key] = beyond
    return left_out


def sum_of(loads: Mapping[Key, Load]) -> Load:
    """All of them together."""
    total = Load()
    for load in loads.values():
        total.policies += load.policies
        total.rules += load.rules
        total.elements |= load.elements
        total.ranges |= load.ranges
    return total
