"""Pods that run on the node before anybody has told of them: links that lead to a namespace whose addresses nobody knows.

Knows links from one look to the next, and time as a number. Pure. Knows nothing of policies (gates.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from compilers.model.words import Address
from policy_controller.enforcer.residence import Residents


@dataclass(frozen=True, slots=True)
class Newcomers:
    """`since`: when each link was first seen that nobody has explained yet, monotonic seconds. `explained`: the others.

    A link is explained once an address behind it is a known pod's; those of the first look were there before.
    """

    since: Mapping[int, float] = field(default_factory=dict)
    explained: frozenset[int] | None = None

    def after(self, seen: Residents, known: frozenset[Address], now: float) -> "Newcomers":
        """The same after another look; `known` are the addresses of pods that the node has been told of."""
        if self.explained is None:
            return Newcomers({}, seen.pods)
        told = {link for address in known for link in seen.links.get(address, ())}
        explained = (self.explained | told) & seen.pods
        strange = sorted(seen.pods - explained)
        return Newcomers({link: self.since.get(link, now) for link in strange}, explained)


NO_NEWCOMERS: Final = Newcomers()
