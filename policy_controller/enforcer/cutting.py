"""Connections that a change of the rule set denies, where such are to be cut: found and ended soon after it is in force.

Knows rule sets, and the order in which a connection is ended for good. Knows nothing of why a rule set changed.

A rule set is acknowledged without waiting for this. What is due is a state and no list of things to do: the rule sets that
were in force since everything was cut. Whoever began under one of them may be denied now; so whatever fails, is left out or
comes meanwhile is found again. An enforcer that starts anew knows of none, and looks at every pod.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final

from compilers.model.settings import ExistingConnections
from compilers.model.words import Address
from compilers.nftables.midstream import set_of
from compilers.nftables.transaction import Rejection
from compilers.ruleset.denial import Denials, perhaps_closed
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock
from policy_controller.enforcer.conntrack import MOST_ENTRIES, ConnectionsError, Entry
from policy_controller.enforcer.endings import LONGEST_WALK_PAUSE, WALK_PAUSE, pause
from policy_controller.enforcer.kernel import Kernel, KernelError
from policy_controller.enforcer.metrics import Metrics
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

AT_ONCE: Final = 1024
"""Connections of one transaction: while it is committed, rules wait."""

MOST_STATES: Final = 16
"""Rule sets that are remembered while nothing can be cut; of more, every pod is looked at."""

States = tuple[RuleSet, ...] | None
"""Rule sets that were in force one after the other; None: nothing is known of that, so anything may have been admitted."""


class Cutting:
    """What is cut, and what is due. Use from one event loop."""

    def __init__(self, kernel: Kernel, clock: Clock, metrics: Metrics) -> None:
        self._kernel = kernel
        self._clock = clock
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._now: RuleSet | None = None
        """What is in force."""
        self._states: States = None
        """What has been in force since all was cut that was denied, the latest included."""
        self._since: float | None = None
        """Since when something may be denied that is not cut; None: nothing is."""
        self._remembered = True
        """Whether the kernel may remember something that was cut, by this enforcer or one before it."""
        self._failures = 0
        self._lingering: ConnectionsError | KernelError | None = None

    @property
    def lingering(self) -> ConnectionsError | KernelError | None:
        """Why connections that should have been cut may go on, or None when none does."""
        return self._lingering

    def note(self, rule_set: RuleSet) -> None:
        """Another rule set is in force from now on."""
        self._remembered |= any(pod.existing is ExistingConnections.CUT for pod in rule_set.pods.values())
        self._now = rule_set
        self._states = _together(self._states, (rule_set,))
        self._wake()

    def note_mended(self, lines: Sequence[str]) -> None:
        """The tables were other than they should be, as the lines say: what began meanwhile was judged by nobody."""
        if lines:
            self._states = None
            self._wake()

    async def run(self) -> None:
        """Cut what each rule set in force denies. Never returns."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            begin = self._clock.now()
            try:
                await self._catch_up()
            except (ConnectionsError, KernelError) as error:
                self._lingering = error
                self._metrics.connections_lingered()
                wait = pause(self._failures)
                self._failures += 1
                log.error("connections that should be cut may go on: %s", plain(str(error)))
                self._changed.set()
            else:
                self._lingering, self._failures = None, 0
                wait = min(WALK_PAUSE * (self._clock.now() - begin), LONGEST_WALK_PAUSE)
            await self._clock.sleep(wait)

    def _wake(self) -> None:
        self._since = self._clock.now() if self._since is None else self._since
        self._changed.set()

    async def _catch_up(self) -> None:
        """Raises ConnectionsError or KernelError."""
        rule_set = self._now
        if rule_set is None:
            # What an earlier enforcer left is in force: whom it denies, the operator has not said yet.
            return
        states, since, whole = self._states, self._since, False
        self._states, self._since = (rule_set,), None
        try:
            whole = await self._look(states, rule_set, self._clock.now() if since is None else since)
        finally:
            if not whole:
                self._states, self._since = _together(states, self._states), since

    async def _look(self, states: States, rule_set: RuleSet, since: float) -> bool:
        """Whether all is cut that the rule set denies, and began under one of these. Raises ConnectionsError or KernelError."""
        addresses = await asyncio.to_thread(_perhaps_closed, states, rule_set)
        if not addresses:
            if self._remembered and not rule_set.isolates:
                # No gate is left that could deny what was cut.
                await self._kernel.forget_cut()
                self._remembered = False
            return True
        # What is found from here on began before rules were in force that deny it, or is admitted by them.
        denied = await self._kernel.connections_of(addresses, Denials(rule_set).denies)
        count = await self._cut(denied, rule_set)
        self._metrics.connections_cut(count, self._clock.now() - since)
        level = logging.INFO if count else logging.DEBUG
        log.log(level, "cut %d connections of %d addresses", count, len(addresses))
        if len(denied) >= MOST_ENTRIES:
            # There may be more.
            self._changed.set()
            return False
        return True

    async def _cut(self, denied: Iterable[Entry], rule_set: RuleSet) -> int:
        """How many were ended. Raises the first error, after having tried all others."""
        count = 0
        errors: list[ConnectionsError | KernelError] = []
        for several in _batches(denied):
            still = several
            if self._now is not None and self._now is not rule_set:
                # What a later rule set admits again goes on, and is found through that one when it is denied once more.
                still = _denied(several, self._now)
            if still:
                count += await self._end(still, errors)
        if errors:
            raise errors[0]
        return count

    async def _end(self, several: Sequence[Entry], errors: list[ConnectionsError | KernelError]) -> int:
        """How many of these were ended, whoever of their ends speaks next."""
        try:
            # Before they are forgotten: with the next packet of a server the kernel would know the connection again.
            await self._kernel.remember_cut([entry.flow for entry in several])
        except KernelError as error:
            errors.append(error)
            if error.reason is not Rejection.FULL:
                return 0
            # There may be no room for a day. Until a server speaks first, it has ended.
        try:
            return await self._kernel.delete_connections(several)
        except ConnectionsError as error:
            errors.append(error)
            return 0


def _together(earlier: States, later: States) -> States:
    if earlier is None or later is None or len(earlier) + len(later) > MOST_STATES:
        return None
    return (*earlier, *later)


def _perhaps_closed(states: States, now: RuleSet) -> frozenset[Address]:
    if states is None:
        return perhaps_closed(None, now)
    before = (one for one in states if one is not now)
    return frozenset[Address]().union(*(perhaps_closed(one, now) for one in before))


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Of one set each: when it is full, others are not refused with it."""

    def name(entry: Entry) -> str:
        return set_of(entry.flow) or ""

    for _, of_set in groupby(sorted(entries, key=name), name):
        while several := list(islice(of_set, AT_ONCE)):
            yield several


def _denied(entries: Iterable[Entry], rule_set: RuleSet) -> list[Entry]:
    denials = Denials(rule_set)
    return [entry for entry in entries if denials.denies(entry.flow)]
