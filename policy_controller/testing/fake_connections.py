"""The memory of connections without a kernel: entries of two tuples, and refusals when a test wants them.

Knows which entries an address is part of, as the kernel's answer to the same tests shows. Knows no protocols.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from compilers.model.words import Address
from policy_controller.enforcer.conntrack import ConnectionsError

Ends = tuple[Address, Address]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class FakeConnection:
    """Both tuples of an entry; where an address is translated, the reply is not the original turned round."""

    original: Ends
    reply: Ends


class FakeConnections:
    """The entries of one node."""

    def __init__(self, held: Iterable[FakeConnection] = ()) -> None:
        self.held = frozenset(held)
        self.refusals = 0
        """How many of the next questions are refused."""

    def end(self, addresses: frozenset[Address]) -> int:
        """Delete every entry that holds one of the addresses, and return how many. Raises ConnectionsError."""
        if self.refusals:
            self.refusals -= 1
            raise ConnectionsError(f"connections of {len(addresses)} addresses: Operation not permitted")
        left = frozenset(one for one in self.held if addresses.isdisjoint(one.original + one.reply))
        count = len(self.held - left)
        self.held = left
        return count
