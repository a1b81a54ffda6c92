"""The memory of connections without a kernel: entries of two tuples, and refusals when a test wants them.

Knows which entries an address is part of, as the kernel's answer to the same tests shows. Knows of protocols numbers and ports.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from compilers.model.words import Address
from compilers.ruleset.denial import Flow
from policy_controller.enforcer import conntrack
from policy_controller.enforcer.conntrack import ConnectionsError, Entry

Ends = tuple[Address, Address]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class FakeConnection:
    """Both tuples of an entry; where an address is translated, the reply is not the original turned round.

    `ports`: the port that the original tuple comes from, and that from which the reply does.
    """

    original: Ends
    reply: Ends
    protocol: int = 6
    ports: tuple[int, int] = (0, 0)

    @property
    def entry(self) -> Entry:
        """What is told of it."""
        flow = Flow(self.original[0], self.reply[0], self.protocol, *self.ports)
        return Entry(flow, repr(self).encode())


class FakeConnections:
    """The entries of one node."""

    def __init__(self, held: Iterable[FakeConnection] = (), own: frozenset[Address] = frozenset()) -> None:
        """`own` are the addresses of the node itself."""
        self.held = frozenset(held)
        self.own = own
        self.refusals = 0
        """How many of the next questions are refused."""

    def end(self, addresses: frozenset[Address]) -> int:
        """Delete every entry that holds one of the addresses, and return how many. Raises ConnectionsError."""
        self._refuse(f"connections of {len(addresses)} addresses")
        left = frozenset(one for one in self.held if addresses.isdisjoint(one.original + one.reply))
        count = len(self.held - left)
        self.held = left
        return count

    def of(self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]) -> tuple[Entry, ...]:
        """Connections that one of the addresses has opened or answers, as far as wanted. Raises ConnectionsError."""
        self._refuse("connections cannot be listed")
        found = (
            one.entry
            for one in self.held
            if one.original[0] not in self.own and not addresses.isdisjoint((one.original[0], one.reply[0]))
        )
        return tuple(islice((entry for entry in found if wanted(entry.flow)), conntrack.MOST_ENTRIES))

    def cut(self, entries: Iterable[Entry]) -> int:
        """Delete these entries, and return how many there were. Raises ConnectionsError."""
        self._refuse("connections cannot be cut")
        names = frozenset(entry.name for entry in entries)
        left = frozenset(one for one in self.held if one.entry.name not in names)
        count = len(self.held - left)
        self.held = left
        return count

    def _refuse(self, what: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionsError(f"{what}: Operation not permitted")
