"""A node whose gates are flooded while its kernel is told one state after the other.

One pod floods the others of its node, and the node, with new flows; which of them must not get through is given. Knows
the laboratory, the flood, the planner and the kernel. Knows no policies: states come from whoever tests.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import nft_templates
from compilers.model.words import Address
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render_empty
from compilers.nftables.transaction import Transaction, install
from policy_controller.testing.agreement.kernels import Kernels, Pace
from policy_controller.testing.flood import Count, Flood, Meters, Stream
from policy_controller.testing.laboratory import Laboratory, NetworkKind, inside
from policy_controller.testing.laboratory.netns import write_settings

OPEN_RATE: Final = 4000
"""Packets a second at open gates: what is confirmed fills the kernel's memory of connections."""
UDP_SECONDS: Final = "1"
START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened at the gates while so many transactions were committed: packets of the closed and open streams."""

    commits: int
    seconds: float
    closed: Count
    opened: Count

    @property
    def leaks(self) -> int:
        """Packets that came past a closed gate."""
        return max(self.closed.past, self.closed.arrived)

    @property
    def refusals(self) -> int:
        """Packets that came to the open gates and not past them."""
        return self.opened.seen - self.opened.past

    @property
    def rate(self) -> float:
        """Packets a second at closed gates."""
        return self.closed.seen / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.commits} commits in {self.seconds:.1f} s, {self.closed.seen} packets at closed gates "
            f"({self.rate:.0f}/s): {self.leaks} leaks; {self.opened.seen} at open ones: {self.refusals} refused"
        )


class Flooded:
    """A node with pods of the given names and addresses; the first floods the others and the node.

    A context manager. The flood begins with `begin`.
    """

    def __init__(
        self,
        node: str,
        pods: Mapping[str, tuple[Address, ...]],
        *,
        open_to: Iterable[str],
        port: int,
        network: NetworkKind = NetworkKind.BRIDGE,
    ) -> None:
        self._node_name = node
        self._addresses = dict(pods)
        self._open = frozenset(open_to)
        self._port = port
        self._network = network
        self._stack = ExitStack()
        self._floods: list[Flood] = []
        self.core: Final = max(os.sched_getaffinity(0))
        """The flood of closed gates runs on this one, and so do the hooks that judge it."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.kernels = stack.enter_context(Kernels())
            self.laboratory = stack.enter_context(Laboratory(network=self._network))
            self.node = self.laboratory.add_node(self._node_name)
            pods = [
                self.laboratory.add_pod(self.node, name, addresses)
                for name, addresses in self._addresses.items()
            ]
            with inside(self.node.namespace):
                write_settings({"netfilter/nf_conntrack_udp_timeout": UDP_SECONDS})
            self.base: Base = base_tables(
                nft_templates.read(nft_templates.INET),
                nft_templates.read(nft_templates.BRIDGE),
                BaseSettings(self.laboratory.pod_interfaces),
            )
            self.held = render_empty(self.base)
            self.commit([install(table) for table in self.held.each()])
            self._streams = tuple(self._all_streams())
            namespaces = [pod.namespace for pod in pods]
            self._meters = stack.enter_context(Meters([self.node.namespace], namespaces[1:], self._streams))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self, tables: Tables) -> None:
        """Hold these tables, then flood; returns when every stream has reached the gates. Raises TimeoutError."""
        self.hold(tables)
        pod = self.laboratory.pods[next(iter(self._addresses))]
        for streams, rate in ((self._of(closed=True), None), (self._of(closed=False), OPEN_RATE)):
            flood = Flood(self.laboratory, pod, streams, rate=rate, core=self.core if rate is None else None)
            self._floods.append(self._stack.enter_context(flood))
        deadline = time.monotonic() + START_SECONDS
        while not all(count.seen for count in self._meters.read().values()):
            if time.monotonic() > deadline:
                raise TimeoutError("a stream does not reach the gates")
            time.sleep(POLL_SECONDS)

    def hold(self, tables: Tables) -> int:
        """Have the kernel hold these tables, by a plan from what it holds now; returns how many transactions that took."""
        transactions = planned(self.held, tables)
        self.commit(transactions)
        self.held = tables
        return len(transactions)

    def turn(
        self,
        states: Sequence[Tables],
        commits: int,
        pace: Pace = Pace.ONE_SOCKET,
        spared: frozenset[str] = NOBODY,
    ) -> Tally:
        """Hold each state after the other, round and round, under flood, until so many transactions are committed.

        Streams to those who are `spared` count as neither closed nor open.
        """
        self.hold(states[0])
        one_round = [
            transaction
            for before, after in zip(states, (*states[1:], states[0]), strict=True)
            for transaction in planned(before, after)
        ]
        return self.repeat(one_round, -(-commits // len(one_round)), pace, spared)

    def repeat(
        self,
        transactions: Sequence[Transaction],
        rounds: int,
        pace: Pace,
        spared: frozenset[str] = NOBODY,
    ) -> Tally:
        """Commit these transactions under flood, round and round; after each round the kernel holds what it held before."""

        def commit() -> int:
            self.kernels.repeat(self.node.namespace, transactions, rounds, pace)
            return len(transactions) * rounds

        return self.during(commit, spared)

    def during(self, work: Callable[[], int], spared: frozenset[str] = NOBODY) -> Tally:
        """What the meters count while `work` commits; it returns how many transactions."""
        before, begin = self._read(), time.monotonic()
        commits = work()
        seconds = time.monotonic() - begin
        after = self._read()
        sums = {True: Count(), False: Count()}
        for stream in self._streams:
            if _target(stream) not in spared:
                sums[self._is_closed(stream)] += after[stream.name] - before[stream.name]
        return Tally(commits, seconds, closed=sums[True], opened=sums[False])

    def commit(self, transactions: Sequence[Transaction]) -> None:
        """Carry transactions out in the node."""
        self.kernels.run(self.node.namespace, transactions)

    def kernel_holds(self) -> Tables | None:
        """What the kernel says it holds; None when a table is missing."""
        names = [table.identity for table in self.held.each()]
        inet, bridge = self.kernels.held(self.node.namespace, names)
        return None if inet is None or bridge is None else Tables(inet, bridge)

    def _read(self) -> Mapping[str, Count]:
        """The meters, while no packet is between two of them."""
        with ExitStack() as stack:
            for flood in self._floods:
                stack.enter_context(flood.paused())
            return self._meters.read()

    def _all_streams(self) -> Iterator[Stream]:
        source, *others = self._addresses.items()
        for name, addresses in (*others, (self._node_name, self.node.addresses)):
            for near, far in zip(source[1], addresses, strict=True):
                yield Stream(f"{name} IPv{far.version}", near, far, self._port)

    def _is_closed(self, stream: Stream) -> bool:
        return _target(stream) not in self._open

    def _of(self, *, closed: bool) -> tuple[Stream, ...]:
        return tuple(stream for stream in self._streams if self._is_closed(stream) is closed)


def _target(stream: Stream) -> str:
    return stream.name.partition(" ")[0]


def planned(before: Tables, after: Tables) -> list[Transaction]:
    """The transactions of a plan that are not empty."""
    return [transaction for _, transaction in plan(before, after).each() if transaction.commands]
