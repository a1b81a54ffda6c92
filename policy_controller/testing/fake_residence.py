"""Which addresses are on a node, without a kernel: what a test says, or that it cannot be told.

Knows nothing of namespaces or links but their numbers.
"""

import errno
from collections.abc import Mapping

from compilers.model.words import Address
from policy_controller.enforcer.residence import Residents


class FakeResidence:
    """The addresses behind the links of one node: each with the one link that leads to it."""

    def __init__(self, held: Mapping[Address, int] | None = None) -> None:
        self.held: Mapping[Address, int] = held or {}
        self.bare: frozenset[int] = frozenset()
        """Links of pods whose namespaces have no address yet."""
        self.fails = False
        """Whether it cannot be told."""

    def look(self) -> Residents:
        """Who is there now. Raises OSError when that cannot be told."""
        if self.fails:
            raise OSError(errno.EACCES, "Permission denied")
        links = {address: frozenset({link}) for address, link in self.held.items()}
        return Residents(links, frozenset(self.held.values()) | self.bare)
