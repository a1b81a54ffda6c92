"""Which addresses of pods that left the API are still on the node, so that their gates stay.

Knows addresses and the links that lead to them, from one look to the next. Pure: what is seen comes in. Knows no tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from compilers.model.words import Address
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.residence import Residents

MOST_DEPARTED: Final = 1024
"""Addresses whose gates may stay; of more, the longest departed go. A node has room for fewer pods."""

NOT_SEEN: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Departed:
    """Addresses that belonged to isolated pods which have left, the longest departed first.

    `links`: those by which each was seen when it left. A pod that gets the address later has another. Empty: it could not be
    told where the address is.
    """

    links: Mapping[Address, frozenset[int]] = field(default_factory=dict)
    left_out: int = field(default=0, compare=False)
    """Addresses that were too many, when this was made."""

    @property
    def addresses(self) -> frozenset[Address]:
        """Those whose gates stay."""
        return frozenset(self.links)

    def after(self, leaving: Iterable[Address], seen: Residents | None) -> "Departed":
        """Those of `leaving` that stay, by one look; `seen` None: it could not be told who is there."""
        wanted = frozenset(leaving)
        ordered = [address for address in self.links if address in wanted]
        ordered += sorted(wanted.difference(self.links), key=lambda one: (one.version, int(one)))
        links = {}
        for address in ordered:
            before = self.links.get(address, NOT_SEEN)
            if seen is None:
                links[address] = before
                continue
            now = seen.links.get(address, NOT_SEEN)
            left = now & before if before else now
            if left:
                links[address] = left
        return Departed(dict(list(links.items())[-MOST_DEPARTED:]), max(0, len(links) - MOST_DEPARTED))


NONE: Final = Departed()


def gated(departed: Departed, rule_set: RuleSet) -> Departed:
    """The departed pods whose gates stay beside a rule set: with enforcement off, none."""
    return NONE if rule_set.is_off else departed
