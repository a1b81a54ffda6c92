"""One class in outline: what its policies admit together, and what that takes up, before any set is made.

Knows policies that select the same pods. Knows nothing of pods or of the other classes of a node.
"""

from dataclasses import dataclass, field
from typing import Final

from compilers.compile.admission import Admission, Admissions
from compilers.compile.room import Load, Room
from compilers.compile.selection import NodePods
from compilers.model.faults import ObjectRef
from compilers.model.policy import NetworkPolicy
from compilers.model.words import Direction
from compilers.ruleset.parts import PolicyClass

CLOSED_POLICIES: Final = 4
"""How many of its policies a closed class names."""


@dataclass(slots=True)
class Outline:
    """A class before its sets are made."""

    direction: Direction
    policies: tuple[ObjectRef, ...]
    heaviest: ObjectRef
    """The policy that takes up most; the first among equals."""
    admitted: Admission = field(default_factory=Admission)
    """What they admit together; not whole when this alone is too much."""
    beyond: str | None = None
    """The thing of which this class alone has too much."""

    def load(self) -> Load:
        """What it takes up."""
        return load_of(self.admitted, len(self.policies))

    def whole(self) -> PolicyClass:
        """The class."""
        return PolicyClass(self.direction, self.policies, tuple(self.admitted.rules.values()))

    def shut(self) -> PolicyClass:
        """The class that isolates the same pods and admits nothing; it names only some of the policies."""
        return PolicyClass(self.direction, self.policies[:CLOSED_POLICIES], ())


def outline(
    admissions: Admissions,
    direction: Direction,
    policies: tuple[NetworkPolicy, ...],
    node: NodePods,
    room: Room,
) -> Outline:
    """The class of pods that exactly these policies select, at least one; `room` is that of a class."""
    found = Outline(direction, tuple(policy.ref for policy in policies), policies[0].ref)
    if len(policies) > room.policies:
        found.beyond = "policies"
        return found
    most = 0.0
    for policy in policies:
        admission = admissions.of(policy, direction, node)
        found.admitted.add(admission)
        share = load_of(admission, 0).share(room)
        if share > most:
            found.heaviest, most = policy.ref, share
        # Not outlined to its end: ten thousand policies may each be as large as one can be.
        if share > 1 / len(policies) and found.load().beyond(room) is not None:
            break
    found.beyond = found.load().beyond(room)
    return found


def load_of(admission: Admission, policies: int) -> Load:
    """What the rules of so many policies take up."""
    elements = {name: members.elements for name, members in (admission.peers | admission.ports).items()}
    ranges = {name: len(block.ranges) for name, block in admission.blocks.items()}
    return Load(policies, len(admission.rules), elements, ranges)
