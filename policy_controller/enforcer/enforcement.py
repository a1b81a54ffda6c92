"""Puts in force what the operator says, one thing after the other, and keeps the gates for unknown addresses.

Knows the session's word and the kernel's, and brings them together. Knows nothing of gRPC: a message comes in, an answer
goes out.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Final

from compilers.model.words import Address
from compilers.nftables.base import CLOSED_UNKNOWN, Base
from compilers.nftables.render import Slots, Tables, render, render_empty, with_slots
from compilers.nftables.transaction import Rejection
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock, wait_for
from policy_controller.enforcer.conntrack import ConnectionsError
from policy_controller.enforcer.found import ended_since, has_pods
from policy_controller.enforcer.gates import NOBODY, Knowledge, UnknownGates, Waiting
from policy_controller.enforcer.kernel import Kernel, KernelError, Occasion, Phase
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import NotAcceptedError, Session, generation_of
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator
from policy_controller.wire.messages import Hello, NackCause, NodeMessage, SnapshotMessage
from policy_controller.wire.refused import Refused, plain

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (0.0, 0.1, 0.5, 2.0)
"""Waits before further attempts. The first is at once: what was known of the kernel may have been wrong."""

PASSING: Final = frozenset({Rejection.BUSY, Rejection.OTHER})
"""Refusals that may pass by waiting; others are tried once more, from what is read."""

LONGEST_WAIT: Final = 30.0

WALK_PAUSE: Final = 10.0
"""How many times as long as a walk over the kernel's connections took there is none after it: rules wait for few."""

LONGEST_WALK_PAUSE: Final = 1.0
SHOWN_DIFFERENCES: Final = 5


@dataclass(frozen=True, slots=True)
class Standing:
    """What the kernel should hold, which slots for unknown addresses are closed in it, and the pods it waits for.

    `slots` is None where they are as they were found.
    """

    tables: Tables
    slots: Slots | None
    waiting: Waiting


class Enforcement:
    """The one who decides what the kernel should hold. Use from one event loop."""

    def __init__(
        self,
        kernel: Kernel,
        base: Base,
        session: Session,
        gates: UnknownGates,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._kernel = kernel
        self._base = base
        self._session = session
        self._gates = gates
        self._clock = clock
        self._metrics = metrics
        self._standing = Standing(render_empty(base), None, NOBODY)
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._trouble: KernelError | None = None
        self._ending: frozenset[Address] = frozenset()
        """Addresses whose connections must end and may not all have."""
        self._lingering: ConnectionsError | None = None
        self._walk_allowed = clock.now()
        """When the kernel's connections may be walked over again; endings that come before share that walk."""
        self._walk_again = clock.now()
        """The same for a walk that only tries again."""
        self._failed_walks = 0
        self._adopted = False

    @property
    def session(self) -> Session:
        """What has been said and is in force; to be read only."""
        return self._session

    @property
    def adopted(self) -> bool:
        """Whether the base stands in the kernel."""
        return self._adopted

    @property
    def trouble(self) -> KernelError | None:
        """Why the kernel does not hold what it should, or None when it does."""
        return self._trouble

    @property
    def lingering(self) -> ConnectionsError | None:
        """Why connections of addresses that changed hands may go on, or None when none does."""
        return self._lingering

    def overdue(self) -> tuple[str, ...]:
        """Uids of pods that have had no address for longer than they may close unknown addresses."""
        return self._gates.overdue(self._standing.waiting, self._clock.now())

    async def adopt(self) -> None:
        """Take over what is in the kernel; tries until it succeeds."""
        wait = 1.0
        while not self._adopted:
            try:
                self._standing = Standing(await self._kernel.adopt(), None, NOBODY)
                self._trouble, self._adopted = None, True
            except KernelError as error:
                self._trouble = error
                log.error("the tables cannot be adopted, trying again in %.0f s: %s", wait, plain(str(error)))
                await self._clock.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        if has_pods(self._standing.tables):
            self._session.found_pods()
            log.info("adopted the tables of an earlier enforcer")
        async with self._turn:
            await self._settle()

    async def finish(self) -> None:
        """End the connections that still must, since nobody will remember them."""
        async with self._turn:
            if self._ending:
                await self._walk()

    async def compare(self, occasion: Occasion) -> tuple[str, ...]:
        """Compare the kernel with what it should hold and mend what differs, one line each. Raises KernelError."""
        async with self._turn:
            # What failed before is in force after this, or keep_gates has something more to try.
            self._changed.set()
            try:
                found = await self._kernel.mend(self._standing.tables, occasion)
            except KernelError as error:
                self._trouble = error
                raise
            self._metrics.differed(len(found))
            self._trouble = None
            return found

    def begin_stream(self) -> Hello:
        """A stream to the operator begins; what to say first."""
        return self._session.begin_stream()

    def note_connected(self) -> None:
        """The operator has been reached."""
        self._metrics.connected(1)

    def end_stream(self) -> None:
        """The stream is gone: the rules stay, and unknown addresses are judged anew."""
        self._metrics.connected(0)
        self._session.end_stream()
        self._changed.set()

    async def receive(self, message: pb.OperatorMessage) -> NodeMessage:
        """Put a message in force, or refuse it; returns the answer."""
        async with self._turn:
            try:
                return await self._put_in_force(message)
            except Refused as refused:
                nack = self._session.nack(generation_of(message), NackCause.INVALID, refused)
            except NotAcceptedError as error:
                nack = self._session.nack(generation_of(message), error.cause, error.refused)
            except KernelError as error:
                self._trouble = error
                what = Refused(error.command or error.phase, error.message)
                nack = self._session.nack(generation_of(message), NackCause.KERNEL, what)
            self._metrics.nacked(nack.cause)
            log.warning("generation %d is not in force: %s: %s", nack.generation, nack.object, nack.reason)
            await self._settle()
            self._changed.set()
            return nack

    async def keep_gates(self) -> None:
        """Open and close for unknown addresses as time passes and streams come and go; mend what failed. Never returns."""
        failures = 0
        while True:
            now = self._clock.now()
            waits = [self._gates.next_opening(self._standing.waiting, now)]
            if self._trouble is not None:
                waits.append(_pause(failures))
            if self._ending:
                waits.append(self._walk_again - now)
            await wait_for(
                self._changed, self._clock, min((wait for wait in waits if wait is not None), default=None)
            )
            self._changed.clear()
            async with self._turn:
                await self._settle()
                await self._end_connections(frozenset())
            failures = failures + 1 if self._trouble is not None else 0

    async def _put_in_force(self, message: pb.OperatorMessage) -> NodeMessage:
        """The ack; raises Refused, NotAcceptedError or KernelError when it is not in force."""
        value = await asyncio.to_thread(decode_operator, message)
        candidate = await asyncio.to_thread(self._session.judge, value)
        standing = await asyncio.to_thread(self._standing_of, candidate.rule_set)
        phases = await self._apply(standing.tables)
        if isinstance(value, SnapshotMessage):
            await self._verify(standing.tables)
        ended = candidate.ended
        if self._session.in_force is None:
            ended |= ended_since(self._standing.tables, standing.tables)
        self._standing, self._trouble = standing, None
        ack = self._session.commit(candidate)
        # Not before the switch: an entry that is deleted under the old rules comes back with the next packet.
        await self._end_connections(ended)
        rule_set = candidate.rule_set
        self._metrics.in_force(candidate.number, len(rule_set.pods), len(standing.waiting.since))
        log.log(
            logging.INFO if isinstance(value, SnapshotMessage) else logging.DEBUG,
            "generation %d is in force: %d pods, %d commands",
            candidate.number,
            len(rule_set.pods),
            sum(phase.commands for phase in phases),
        )
        self._changed.set()
        return ack

    def _standing_of(self, rule_set: RuleSet) -> Standing:
        """What the kernel should hold once a rule set is the operator's last word."""
        now = self._clock.now()
        waiting = self._standing.waiting.after(rule_set, now)
        closed = self._gates.closed(Knowledge.CURRENT, rule_set, waiting, now)
        slots = dict.fromkeys(closed, CLOSED_UNKNOWN)
        return Standing(render(rule_set, self._base, closed), slots, waiting)

    async def _settle(self) -> None:
        """Close and open for unknown addresses as it should be now, and mend what did not succeed before."""
        held = self._session.in_force
        standing, knowledge = self._standing, self._session.knowledge
        closed = self._gates.closed(
            knowledge,
            held.rule_set if held is not None else None,
            standing.waiting,
            self._clock.now(),
        )
        untold = knowledge is Knowledge.STALE
        slots = {one: self._base.closed_untold[one] if untold else CLOSED_UNKNOWN for one in closed}
        if slots == standing.slots and self._trouble is None:
            return
        standing = replace(standing, tables=with_slots(standing.tables, slots), slots=slots)
        try:
            await self._apply(standing.tables)
        except KernelError as error:
            self._trouble = error
            log.error("the kernel does not hold what it should: %s", plain(str(error)))
            return
        self._standing, self._trouble = standing, None

    async def _end_connections(self, addresses: frozenset[Address]) -> None:
        """End the connections of these addresses and of those for which it failed before; a failure is tried again.

        Soon after a long walk over all connections they are only noted, and keep_gates ends them together. What is in
        force does not depend on it, so a generation is acked also when it fails.
        """
        self._ending |= addresses
        due = self._walk_allowed if addresses else self._walk_again
        if self._ending and self._clock.now() >= due:
            await self._walk()

    async def _walk(self) -> None:
        begin, retry = self._clock.now(), 0.0
        try:
            count = await self._kernel.end_connections(self._ending)
        except ConnectionsError as error:
            self._lingering = error
            retry = _pause(self._failed_walks)
            self._failed_walks += 1
            self._metrics.connections_lingered()
            log.error("connections that should have ended may go on, trying again: %s", plain(str(error)))
            return
        finally:
            end = self._clock.now()
            self._walk_allowed = end + min(WALK_PAUSE * (end - begin), LONGEST_WALK_PAUSE)
            self._walk_again = max(self._walk_allowed, end + retry)
        self._metrics.connections_ended(count)
        # Most nodes hold none: every node hears of every address of the cluster.
        level = logging.INFO if count else logging.DEBUG
        log.log(level, "ended %d connections of %d addresses that changed hands", count, len(self._ending))
        self._ending, self._lingering, self._failed_walks = frozenset(), None, 0

    async def _apply(self, tables: Tables) -> tuple[Phase, ...]:
        """Apply, trying again as long as that may help. Raises KernelError."""
        for wait in RETRY_SECONDS:
            try:
                return self._applied(await self._kernel.apply(tables))
            except KernelError as error:
                if wait and error.reason not in PASSING:
                    raise
                log.warning("trying again in %.1f s: %s", wait, plain(str(error)))
            await self._clock.sleep(wait)
        return self._applied(await self._kernel.apply(tables))

    def _applied(self, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        self._metrics.applied(phases)
        return phases

    async def _verify(self, tables: Tables) -> None:
        """Read the whole tables back and mend what differs, once. Raises KernelError when it differs still."""
        found = await self._kernel.read_back(tables)
        if not found:
            return
        self._metrics.differed(len(found))
        for line in found[:SHOWN_DIFFERENCES]:
            log.warning("read back, and mended: %s", plain(line))
        await self._apply(tables)
        left = await self._kernel.read_back(tables)
        if left:
            raise KernelError(
                "read back", Rejection.OTHER, f"{len(left)} objects differ, among them {left[0]}"
            )


def _pause(failures: int) -> float:
    """Seconds until the next attempt after so many that failed."""
    # A power of 1024 is no float any more, and a kernel may refuse for days.
    return min(2.0 ** min(failures, 10), LONGEST_WAIT)
