"""The single writer to the kernel: adopts the tables it finds, applies others in phases, reads back.

Knows transactions, their order and what is in the kernel. Knows nothing of generations or of the operator.
Everything that touches the kernel runs in one thread, one piece after the other, in the network namespace in which
that thread was started; the event loop never waits for netlink.
"""

import asyncio
import enum
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from compilers.model.words import Address
from compilers.nftables.base import TABLE, Base
from compilers.nftables.lexer import ReadError
from compilers.nftables.midstream import forgetting, remembering
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render_empty
from compilers.nftables.table import Table, TableName
from compilers.nftables.transaction import (
    DeleteTable,
    Nft,
    NftRejectedError,
    Rejection,
    Transaction,
    install,
)
from compilers.nftables.words import InvalidNftError, TableFamily
from compilers.ruleset.denial import Flow
from policy_controller.clock import Clock
from policy_controller.enforcer.commits import Author
from policy_controller.enforcer.comparison import (
    Found,
    Illegible,
    amiss,
    differences,
    holds_base,
    leads_to,
    only_lacks_set_elements,
)
from policy_controller.enforcer.conntrack import Connections, Entry
from policy_controller.enforcer.copies import COPY, copies_of, without_copies
from policy_controller.enforcer.residence import Residence, Residents
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LISTED_AGAIN_SECONDS: Final = 0.2
"""A set that has just grown by tens of thousands of elements is listed incompletely for some 0.1 s (LibNft.list_table)."""

MOST_LISTINGS: Final = 6
"""How often what is listed may change or lack elements before that is believed."""


class Occasion(enum.Enum):
    """Why the tables are compared with what they should be, and so what is believed."""

    SUSPICION = "suspicion"
    """Somebody seems to have changed them: one listing is believed, at once. If it was incomplete (LibNft.list_table), what is
    added is there already, and what should go and was not listed is found by a look soon after.
    """
    ROUTINE = "routine"
    """Nobody is known to have: what is missing from sets must be so for a second."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of an apply, as it went: how many commands, and how long in seconds."""

    name: str
    commands: int
    seconds: float


class KernelError(Exception):
    """The kernel does not hold what it was asked to; `phase` says how far it came, `reason` what kind of refusal it was.

    Before the switch nothing has changed for any packet. `command` is the refused one, when that is known.
    """

    def __init__(self, phase: str, reason: Rejection, message: str, command: str | None = None) -> None:
        where = f" ({command})" if command is not None else ""
        super().__init__(f"{phase}: {message}{where}")
        self.phase = phase
        self.reason = reason
        self.message = message
        self.command = command


class InTheWayError(KernelError):
    """A table that was found cannot be kept: no plan leads from it to the base. Whatever is applied next takes its place."""


class Kernel:
    """Both tables of one node, its connections, and the addresses on it. Use from one event loop; calls are carried out in the order they are made."""

    def __init__(
        self, nft: Nft, connections: Connections, residence: Residence, base: Base, clock: Clock
    ) -> None:
        self._nft = nft
        self._connections = connections
        self._residence = residence
        self._base = base
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="connections")
        """For what may take long and changes no table: rules do not wait for it."""
        self._busy_since: float | None = None
        self._turn = asyncio.Lock()
        self._held: Tables | None = None
        """What the kernel holds; None when that has to be read first."""
        self._copied: tuple[Table, ...] = ()
        """Tables of which there may be a copy."""

    async def adopt(self) -> Tables:
        """Establish the base where it is not, keep everything else, and return what the kernel holds.

        Raises InTheWayError or another KernelError: then the tables are as they were found.
        """
        async with self._turn:
            return await self._in_thread(self._adopt)

    async def apply(self, desired: Tables) -> tuple[Phase, ...]:
        """Bring the kernel from what it holds to `desired`; returns the phases that were not empty.

        A table that no plan leads from is replaced, which is no phase.
        Raises KernelError; the next call then reads first what was left.
        """
        async with self._turn:
            held = self._held if self._held is not None else await self._settled(desired)
            if held is None:
                return await self._in_thread(lambda: self._replace(desired))
            return await self._in_thread(lambda: self._apply(held, desired))

    async def read_back(self, desired: Tables) -> tuple[str, ...]:
        """Read the tables; what is other than `desired`, one line each. The next apply then reads first what is there.

        Elements of sets must be missing for a second to count. Raises KernelError.
        """
        async with self._turn:
            found = await self._in_thread(lambda: self._read_back(desired))
            for _ in range(MOST_LISTINGS - 1):
                if found is None or not only_lacks_set_elements(found, desired):
                    break
                await self._clock.sleep(LISTED_AGAIN_SECONDS)
                found = await self._in_thread(lambda: self._read_back(desired))
            return () if found is None else differences(found, desired)

    async def mend(self, desired: Tables, occasion: Occasion) -> tuple[str, ...]:
        """Read the tables and make them `desired`, whatever somebody made of them; what was other, one line each.

        Nothing is sent when nothing is other. Raises KernelError; the next call then reads first what was left.
        """
        if occasion is Occasion.ROUTINE and await self._is_as(desired):
            return ()
        async with self._turn:
            return await self._in_thread(lambda: self._mend(desired))

    async def author(self, ask: Callable[[], Author]) -> Author:
        """Who the kernel takes the writer for; `ask` is Commits.author."""
        return await self._in_thread(ask)

    async def end_connections(self, addresses: frozenset[Address]) -> int:
        """Delete every connection of these addresses from the kernel's memory; returns how many.

        Raises ConnectionsError.
        """
        return await self._in_thread(lambda: self._connections.end(addresses))

    async def connections_of(
        self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]
    ) -> tuple[Entry, ...]:
        """Connections of these addresses, once every packet has been judged that was under way at the last commit.

        `wanted` is asked in another thread. See Connections.of. Raises KernelError or ConnectionsError.
        """
        # A packet that was admitted by earlier rules has its entry by then.
        await self._in_thread(lambda: self._run("cut", Transaction()))
        return await self._aside_of_rules(lambda: self._connections.of(addresses, wanted))

    async def remember_cut(self, flows: Sequence[Flow]) -> None:
        """No packet of these is taken for the first one of a connection from now on. Raises KernelError."""
        transaction = remembering(flows)
        if transaction.commands:
            await self._in_thread(lambda: self._run("cut", transaction))

    async def delete_connections(self, entries: Sequence[Entry]) -> int:
        """Delete these from the kernel's memory; returns how many there were. Raises ConnectionsError."""
        return await self._aside_of_rules(lambda: self._connections.cut(entries))

    async def forget_cut(self) -> None:
        """Whatever was cut may be taken up again. Raises KernelError."""
        await self._in_thread(lambda: self._run("cut", forgetting()))

    async def residents(self) -> Residents:
        """Which addresses are on the node now. Raises OSError when that cannot be told."""
        return await self._in_thread(self._residence.look)

    def busy_seconds(self) -> float:
        """For how long the piece of work now in the thread has been going on; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else self._clock.now() - since

    def close(self) -> None:
        """Wait for the work in hand and end the thread. The tables stay."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._aside.shutdown(wait=True, cancel_futures=True)

    async def _is_as(self, desired: Tables) -> bool:
        try:
            return not await self.read_back(desired)
        except KernelError as error:
            log.warning("the tables cannot be compared, so they are mended: %s", plain(str(error)))
            return False

    async def _aside_of_rules(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        def timed() -> Result:
            self._busy_since = self._clock.now()
            try:
                return work()
            finally:
                self._busy_since = None

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    async def _settled(self, desired: Tables) -> Tables | None:
        """Read until two listings agree: what is planned from an incomplete one would leave elements that must go.

        None when a table is in the way of `desired`.

        A table that somebody deleted is made as desired at once, since without it every pod is open.
        """
        before: Tables | None = None
        for number in range(MOST_LISTINGS):
            if number:
                await self._clock.sleep(LISTED_AGAIN_SECONDS)
            try:
                after = await self._in_thread(lambda: self._read("read", desired))
            except InTheWayError:
                return None
            if after == before:
                return after
            before = after
        raise KernelError("read", Rejection.OTHER, "the tables are other each time they are listed")

    def _adopt(self) -> Tables:
        # What is listed is complete: an earlier enforcer's last word is older than this one's start.
        self._held = None
        empty = render_empty(self._base)
        found = self._led("adopt", empty)
        missing = [base for held, base in zip(found, empty.each(), strict=True) if not holds_base(held, base)]
        if missing:
            # One transaction for both: a node never has gates without the door beside them.
            self._run(
                "adopt", Transaction(tuple(command for base in missing for command in install(base).commands))
            )
        self._held = self._read("adopt", empty)
        copies = [one for one in self._held.each() if self._found(TableName(one.family, COPY)) is not None]
        if copies:
            # An enforcer was killed while it replaced tables. What they judge by now, so do ours.
            self._run("adopt", Transaction(without_copies(copies)))
        return self._held

    def _apply(self, held: Tables, desired: Tables) -> tuple[Phase, ...]:
        self._held = None
        self._forget_copies()
        done: list[Phase] = []
        try:
            phases = plan(held, desired)
        except InvalidNftError as error:
            # Only an adopted table can hold what must not be sent: a rule that someone else wrote.
            raise KernelError("plan", Rejection.INVALID, str(error)) from error
        for name, transaction in phases.each():
            if transaction.commands:
                begin = self._clock.now()
                self._run(name, transaction)
                done.append(Phase(name, len(transaction.commands), self._clock.now() - begin))
        self._held = desired
        return tuple(done)

    def _read_back(self, desired: Tables) -> Tables | None:
        """What is there, an empty table for one that is not; None when it is what is desired."""
        self._held = None
        inet, bridge = self._list("read back")
        empty = render_empty(self._base)
        found = Tables(
            inet or Table(empty.inet.family, empty.inet.name),
            bridge or Table(empty.bridge.family, empty.bridge.name),
        )
        if differences(found, desired):
            return found
        self._held = desired
        return None

    def _replace(self, desired: Tables) -> tuple[Phase, ...]:
        log.warning("tables were in the way and are replaced: %s", plain("; ".join(self._mend(desired)[:5])))
        return ()

    def _led(self, phase: str, desired: Tables) -> tuple[Table | None, Table | None]:
        """What is there of the tables. Raises InTheWayError when no plan leads from one of them."""
        inet, bridge = ((self._found(one.identity), one) for one in desired.each())
        return self._on_the_way(phase, *inet), self._on_the_way(phase, *bridge)

    def _on_the_way(self, phase: str, held: Found, desired: Table) -> Table | None:
        if isinstance(held, Illegible):
            raise InTheWayError(phase, Rejection.OTHER, f"{desired.identity} cannot be read: {held.why}")
        if held is not None and not leads_to(held, desired):
            raise InTheWayError(phase, Rejection.OTHER, f"{desired.identity} is declared otherwise")
        return held

    def _read(self, phase: str, desired: Tables) -> Tables:
        """The tables, as far as they are there; one that is not is made as desired. Raises InTheWayError."""
        found = self._led(phase, desired)
        lost = [one for held, one in zip(found, desired.each(), strict=True) if held is None]
        if lost:
            self._run(phase, Transaction(tuple(command for one in lost for command in install(one).commands)))
        inet, bridge = found
        return Tables(inet or desired.inet, bridge or desired.bridge)

    def _mend(self, desired: Tables) -> tuple[str, ...]:
        self._held = None
        self._forget_copies()
        pairs = tuple((self._found(one.identity), one) for one in desired.each())
        lines = tuple(line for held, one in pairs for line in amiss(held, one))
        if lines:
            self._rebuild([(held, one) for held, one in pairs if not leads_to(held, one)])
            inet, bridge = (held if leads_to(held, one) else one for held, one in pairs)
            try:
                self._apply(Tables(inet, bridge), desired)
            except KernelError as error:
                log.warning("the tables are made anew, since mending them was refused: %s", plain(str(error)))
                self._rebuild([(self._found(one.identity), one) for one in desired.each()])
        self._held = desired
        return lines

    def _rebuild(self, pairs: Iterable[tuple[Found, Table]]) -> None:
        """Put whole tables in the place of those found. Nothing is open meanwhile that was not before.

        A transaction that replaces a table lets packets pass (testing/agreement/tests/test_atomicity.py): one that is under way
        finds the old hooks gone and not yet the new. So a second copy of what is desired judges as well until it is through.
        """
        held = tuple(pairs)
        there = tuple(one for found, one in held if found is not None)
        deleted = [DeleteTable(one.identity) for one in there]
        anew = [command for _, one in held for command in install(one).commands]
        self._forget_copies()
        try:
            if there:
                self._copied = there
                self._run("rebuild", Transaction(copies_of(there)))
            if anew:
                self._run("rebuild", Transaction((*deleted, *anew)))
        finally:
            self._forget_copies()

    def _forget_copies(self) -> None:
        """Copies that went on judging would deny what later policy allows."""
        if self._copied:
            self._run("rebuild", Transaction(without_copies(self._copied)))
            self._copied = ()

    def _found(self, table: TableName) -> Found:
        try:
            return self._nft.list_table(table.family, table.name)
        except ReadError as error:
            return Illegible(str(error))
        except NftRejectedError as error:
            raise KernelError("read", error.reason, error.message) from error

    def _list(self, phase: str) -> tuple[Table | None, Table | None]:
        try:
            return (
                self._nft.list_table(TableFamily.INET, TABLE),
                self._nft.list_table(TableFamily.BRIDGE, TABLE),
            )
        except ReadError as error:
            raise KernelError(phase, Rejection.OTHER, f"the table cannot be read: {error}") from error
        except NftRejectedError as error:
            raise KernelError(phase, error.reason, error.message) from error

    def _run(self, phase: str, transaction: Transaction) -> None:
        try:
            self._nft.run(transaction)
        except NftRejectedError as error:
            raise KernelError(phase, error.reason, error.message, error.command) from error
