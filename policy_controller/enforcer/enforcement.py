"""Puts in force what the operator says, one thing after the other, and keeps the gates for unknown addresses.

Knows the session's word and the kernel's, and brings them together. Knows nothing of gRPC: a message comes in, an answer
goes out.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from compilers.model.words import Address
from compilers.nftables.base import CLOSED_UNKNOWN, Base
from compilers.nftables.departed import departing, known, with_departed
from compilers.nftables.render import Slots, Tables, render, render_empty, with_slots
from compilers.nftables.transaction import Rejection
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock, wait_for
from policy_controller.enforcer.attempts import Attempts
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.conntrack import ConnectionsError
from policy_controller.enforcer.cutting import Cutting
from policy_controller.enforcer.departed import NONE, Departed, gated
from policy_controller.enforcer.endings import LONGEST_WAIT, Endings, pause
from policy_controller.enforcer.found import ended_since, has_pods, same_gates
from policy_controller.enforcer.gates import NOBODY, Knowledge, UnknownGates, Waiting
from policy_controller.enforcer.kernel import InTheWayError, Kernel, KernelError, Occasion, Phase
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.presence import Presence
from policy_controller.enforcer.session import Generation, NotAcceptedError, Session, generation_of
from policy_controller.enforcer.shortfall import Shortfall
from policy_controller.enforcer.standing import Standing
from policy_controller.enforcer.turn import Turn
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator
from policy_controller.wire.messages import Hello, NackCause, NodeMessage, SnapshotMessage
from policy_controller.wire.refused import Refused, plain
from policy_controller.wire.saved import Flaw

log = logging.getLogger(__name__)

SHOWN_DIFFERENCES: Final = 5


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
        self._standing = Standing.found(render_empty(base))
        self._attempts = Attempts(kernel, clock, metrics)
        self._turn = Turn(clock)
        self._changed = asyncio.Event()
        self._trouble: KernelError | None = None
        self._endings = Endings(kernel, clock, metrics)
        self.cutting: Final = Cutting(kernel, clock, metrics)
        """Ends what a change denied; its `run` is for whoever runs `keep_gates`."""
        self._adopted = False
        self._waits_for_word = False
        """Whether tables are in the way and nobody has said yet what takes their place."""
        self._presence = Presence(kernel, clock)
        metrics.hits.read(Bound.NODE_ADDRESSES, lambda: self._presence.crowded)
        self.committed: Final = asyncio.Event()
        """Set when `to_save` is another; whoever waits for it clears it."""

    @property
    def session(self) -> Session:
        """What has been said and is in force; to be read only."""
        return self._session

    @property
    def to_save(self) -> Generation | None:
        """What is in force, with all whose connections must end: those of departed pods do when their gates go."""
        held, ended = self._session.in_force, self._endings.owed | self._standing.departed.addresses
        return None if held is None else replace(held, ended=ended)

    @property
    def adopted(self) -> bool:
        """Whether the base stands in the kernel."""
        return self._adopted

    @property
    def trouble(self) -> KernelError | None:
        """Why the kernel does not hold what it should, or None when it does."""
        return self._trouble

    @property
    def lingering(self) -> ConnectionsError | KernelError | None:
        """Why connections that should have ended may go on, or None when none does."""
        return self._endings.lingering or self.cutting.lingering

    def turn_seconds(self) -> float:
        """For how long the one thing has been going on that is being put in force now; 0 when nothing is."""
        return self._turn.held_seconds()

    def overdue(self) -> tuple[str, ...]:
        """Uids of pods that have had no address for longer than they may close unknown addresses."""
        return self._gates.overdue(self._standing.waiting, self._clock.now())

    async def adopt(self, saved: Generation | None = None) -> None:
        """Take over what is in the kernel, or put in force what was saved where the kernel knows no pod; until it succeeds."""
        found = await self._established()
        standing = None
        if saved is not None:
            self._session.was_in_force(saved)
            try:
                standing = await self._restored(found or render_empty(self._base), saved)
            except KernelError as error:
                self._metrics.saved_refused(Flaw.KERNEL)
                log.error(
                    "the saved rule set is not used: the kernel does not take it: %s", plain(str(error))
                )
                found = await self._established()
        if standing is None:
            # What is in the way and cannot be read is taken for what holds pods.
            self._waits_for_word = found is None
            if found is None or has_pods(found):
                self._session.found_pods()
                log.info("%s the tables of an earlier enforcer", "found" if found is None else "adopted")
        self._standing = standing or Standing.found(found or render_empty(self._base))
        if saved is not None:
            # The enforcer before may have ended before these did; a departed pod's end with its gates.
            self._endings.owe(saved.ended - departing(self._standing.tables, self._standing.tables))
        self._trouble, self._adopted = self._trouble if self._waits_for_word else None, True
        # Who is there already is no newcomer: what the operator says first is of them.
        await self._presence.look(known(self._standing.told))
        async with self._turn:
            await self._settle()

    async def finish(self) -> None:
        """End the connections that still must, since nobody will remember them."""
        async with self._turn:
            await self._endings.finish()

    async def compare(self, occasion: Occasion) -> tuple[str, ...]:
        """Compare the kernel with what it should hold and mend what differs, one line each. Raises KernelError."""
        async with self._turn:
            # What failed before is in force after this, or keep_gates has something more to try.
            self._changed.set()
            if self._waits_for_word:
                return ()
            try:
                found = await self._kernel.mend(self._standing.tables, occasion)
            except KernelError as error:
                self._trouble = error
                raise
            self._metrics.differed(len(found))
            self.cutting.note_mended(found)
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

    def note_links(self) -> None:
        """Links of the node have come or gone, and pods with them."""
        self._presence.note_links()
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
            waits = [
                self._gates.next_opening(self._standing.waiting, self._presence.newcomers, now),
                self._presence.next_look(self._standing.departed),
                self._endings.next_walk(),
            ]
            if self._trouble is not None:
                waits.append(pause(failures))
            await wait_for(
                self._changed, self._clock, min((wait for wait in waits if wait is not None), default=None)
            )
            self._changed.clear()
            async with self._turn:
                await self._settle(await self._departed_now())
                owed = self._endings.owed
                await self._endings.end(frozenset())
                if self._endings.owed != owed:
                    self.committed.set()
            failures = failures + 1 if self._trouble is not None else 0

    async def _established(self) -> Tables | None:
        """What the kernel holds once the base stands in it; None when a table is in the way. Tries until it succeeds."""
        wait = 1.0
        while True:
            try:
                return await self._kernel.adopt()
            except InTheWayError as error:
                self._trouble = error
                log.error("the tables cannot be adopted, they will be replaced: %s", plain(str(error)))
                return None
            except KernelError as error:
                self._trouble = error
                log.error("the tables cannot be adopted, trying again in %.0f s: %s", wait, plain(str(error)))
                await self._clock.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    async def _restored(self, found: Tables, saved: Generation) -> Standing | None:
        """What is in force once the saved rule set is; None when what was found is later. Raises KernelError."""
        waiting = NOBODY.after(saved.rule_set, self._clock.now())
        slots = self._slots(Knowledge.STALE, saved.rule_set, waiting)
        kept = await asyncio.to_thread(render, saved.rule_set, self._base)
        pods = has_pods(found)
        # Until the operator has spoken, all stay that the tables say have departed.
        departed = gated(NONE.after(departing(found, kept), None), saved.rule_set)
        tables = with_departed(kept, found, departed.addresses, self._base)
        if pods and not await asyncio.to_thread(same_gates, found, tables):
            log.info("the tables of the kernel are later than the saved rule set")
            return None
        standing = Standing(with_slots(tables, slots), slots, waiting, kept, departed)
        await self._attempts.apply_patiently(standing.tables, self._note_trouble)
        self._session.resume(saved)
        self._metrics.in_force(saved.number, saved.rule_set, len(waiting.since))
        log.info(
            "the saved rule set %s: %d pods",
            "is what the kernel holds" if pods else "is in force again",
            len(saved.rule_set.pods),
        )
        return standing

    def _note_trouble(self, error: KernelError) -> None:
        self._trouble = error

    async def _put_in_force(self, message: pb.OperatorMessage) -> NodeMessage:
        """The ack, or the nack of what is in force but for single objects; raises Refused, NotAcceptedError or KernelError."""
        value = await asyncio.to_thread(decode_operator, message)
        candidate = await asyncio.to_thread(self._session.judge, value)
        standing, phases, held = await self._apply_but_for_what_is_refused(candidate.rule_set)
        if isinstance(value, SnapshotMessage):
            await self._verify(standing.tables)
        ended = candidate.ended
        if self._session.in_force is None:
            ended |= ended_since(self._standing.tables, standing.tables)
        # What they had opened since they left is nobody's any more, nor the next owner's of the address.
        gone = self._stand(standing)
        ended |= frozenset() if candidate.rule_set.is_off else gone
        answer = (
            self._session.commit_but_for(candidate, held) if held.refused else self._session.commit(candidate)
        )
        # What policies deny ends, and not what is closed because the kernel did not take an object.
        self.cutting.note(candidate.rule_set)
        # Not before the switch: an entry that is deleted under the old rules comes back with the next packet.
        await self._endings.end(ended)
        # Not before: most often nothing is owed any more, and the file need not say so.
        self.committed.set()
        self._metrics.in_force(candidate.number, held.rule_set, len(standing.waiting.since))
        self._metrics.refused(held.refused)
        level = logging.INFO if isinstance(value, SnapshotMessage) else logging.DEBUG
        counts = candidate.number, len(held.rule_set.pods), sum(phase.commands for phase in phases)
        log.log(level, "generation %d is in force: %d pods, %d commands", *counts)
        self._changed.set()
        return answer

    async def _apply_but_for_what_is_refused(
        self, rule_set: RuleSet
    ) -> tuple[Standing, tuple[Phase, ...], Shortfall]:
        """Apply; objects that the kernel does not take are left out, and the gates that need them closed. Raises KernelError."""
        held = Shortfall(rule_set)
        while True:
            standing = await self._standing_of(held.rule_set)
            try:
                return standing, await self._attempts.apply(standing.tables), held
            except KernelError as error:
                less = held.without(error)
                if less is None:
                    raise
                log.error("left out: %s", less.refused[-1])
                held = less

    async def _standing_of(self, rule_set: RuleSet) -> Standing:
        """What the kernel should hold once a rule set is the operator's last word, beside gates of pods that have departed."""
        held = self._standing
        told = await asyncio.to_thread(render, rule_set, self._base)
        leaving, departed = departing(held.tables, told), NONE
        if leaving or self._presence.sought:
            departed = held.departed.after(leaving, await self._presence.look(known(told)))
        departed = gated(departed, rule_set)
        now = self._clock.now()
        waiting = held.waiting.after(rule_set, now)
        closed = self._gates.closed(Knowledge.CURRENT, rule_set, waiting, self._presence.newcomers, now)
        slots = dict.fromkeys(closed, CLOSED_UNKNOWN)
        tables = with_departed(told, held.tables, departed.addresses, self._base)
        return Standing(with_slots(tables, slots), slots, waiting, told, departed)

    async def _departed_now(self) -> Departed:
        """Which departed pods are still on the node, looked for now and then."""
        departed = self._standing.departed
        if self._presence.next_look(departed) != 0.0:
            return departed
        return departed.after(departed.links, await self._presence.look(known(self._standing.told)))

    def _stand(self, standing: Standing) -> frozenset[Address]:
        """The kernel holds it; returns the addresses of departed pods that are no more."""
        before, now = self._standing.departed.addresses, standing.departed.addresses
        for sentence, addresses in (("keep", now - before), ("lose", before - now)):
            if addresses:
                log.info("%d addresses of pods that left the API %s their gates", len(addresses), sentence)
        if standing.departed is not self._standing.departed:
            self._metrics.hits.note(Bound.DEPARTED_ADDRESSES, standing.departed.left_out)
        self._metrics.departed(len(now))
        self._standing, self._trouble, self._waits_for_word = standing, None, False
        return before - now

    def _slots(self, knowledge: Knowledge, rule_set: RuleSet | None, waiting: Waiting) -> Slots:
        """What closes for unknown addresses now; `rule_set` None: what is in force was adopted."""
        closed = self._gates.closed(knowledge, rule_set, waiting, self._presence.newcomers, self._clock.now())
        untold = knowledge is Knowledge.STALE
        return {one: self._base.closed_untold[one] if untold else CLOSED_UNKNOWN for one in closed}

    async def _settle(self, departed: Departed | None = None) -> None:
        """Close and open for unknown addresses as it should be now, and mend what did not succeed before.

        `departed`: the departed pods whose gates stay, if others than now.
        """
        if self._waits_for_word:
            # Tables of no pod in the place of these would cut off, or open, every pod of the node.
            return
        held = self._session.in_force
        standing, knowledge = self._standing, self._session.knowledge
        slots = self._slots(knowledge, held.rule_set if held is not None else None, standing.waiting)
        departed = standing.departed if departed is None else departed
        if slots == standing.slots and departed == standing.departed and self._trouble is None:
            return
        tables = with_departed(standing.told, standing.tables, departed.addresses, self._base)
        standing = replace(standing, tables=with_slots(tables, slots), slots=slots, departed=departed)
        try:
            await self._attempts.apply(standing.tables)
        except KernelError as error:
            self._trouble = error
            log.error("the kernel does not hold what it should: %s", plain(str(error)))
            return
        self._endings.owe(self._stand(standing))

    async def _verify(self, tables: Tables) -> None:
        """Read the whole tables back and mend what differs, once. Raises KernelError when it differs still."""
        found = await self._kernel.read_back(tables)
        if not found:
            return
        self._metrics.differed(len(found))
        self.cutting.note_mended(found)
        for line in found[:SHOWN_DIFFERENCES]:
            log.warning("read back, and mended: %s", plain(line))
        await self._attempts.apply(tables)
        left = await self._kernel.read_back(tables)
        if left:
            raise KernelError("read back", Rejection.OTHER, f"{len(left)} objects differ, first {left[0]}")
