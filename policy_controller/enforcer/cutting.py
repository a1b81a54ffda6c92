"""Connections that a change of the rule set denies, where such are to be cut: found and ended soon after it is in force.

Knows rule sets, and the order in which a connection is ended for good. Knows nothing of why a rule set changed.

A rule set is acknowledged without waiting for this. What has been done is a state and no list of things to do: the rule
set up to which everything is cut. Whatever fails, or comes meanwhile, is found again as the difference to that; and an
enforcer that starts anew looks at every pod.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from compilers.model.settings import ExistingConnections
from compilers.model.words import Address
from compilers.ruleset.denial import Denials, perhaps_closed
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock
from policy_controller.enforcer.conntrack import ConnectionsError, Entry
from policy_controller.enforcer.endings import pause
from policy_controller.enforcer.kernel import Kernel, KernelError
from policy_controller.enforcer.metrics import Metrics
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

AT_ONCE: Final = 2048
"""Connections of one transaction: while it is committed, rules wait."""


class Cutting:
    """What is cut, and up to which rule set. Use from one event loop."""

    def __init__(self, kernel: Kernel, clock: Clock, metrics: Metrics) -> None:
        self._kernel = kernel
        self._clock = clock
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._now: RuleSet | None = None
        """What is in force."""
        self._since = clock.now()
        """Since when it has been, or an earlier one whose denials have not been cut yet."""
        self._done: RuleSet | None = None
        """Whatever this one denies has been cut."""
        self._remembered = False
        """Whether the kernel may remember something that was cut since this enforcer runs."""
        self._failures = 0
        self._lingering: ConnectionsError | KernelError | None = None

    @property
    def lingering(self) -> ConnectionsError | KernelError | None:
        """Why connections that should have been cut may go on, or None when none does."""
        return self._lingering

    def note(self, rule_set: RuleSet) -> None:
        """Another rule set is in force from now on."""
        if self._now is self._done:
            self._since = self._clock.now()
        self._remembered |= any(pod.existing is ExistingConnections.CUT for pod in rule_set.pods.values())
        self._now = rule_set
        self._changed.set()

    async def run(self) -> None:
        """Cut what each rule set in force denies. Never returns."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._catch_up()
            except (ConnectionsError, KernelError) as error:
                self._lingering = error
                self._metrics.connections_lingered()
                wait = pause(self._failures)
                self._failures += 1
                log.error("connections that should be cut may go on: %s", plain(str(error)))
                self._changed.set()
                await self._clock.sleep(wait)
            else:
                self._lingering, self._failures = None, 0

    async def _catch_up(self) -> None:
        """Raises ConnectionsError or KernelError."""
        rule_set = self._now
        addresses = frozenset[Address]()
        if rule_set is not None:
            addresses = await asyncio.to_thread(perhaps_closed, self._done, rule_set)
        if rule_set is not None and addresses:
            # What is found from here on began before rules were in force that deny it, or is admitted by them.
            entries = await self._kernel.connections_of(addresses)
            denied = await asyncio.to_thread(_denied, entries, rule_set)
            count = await self._cut(denied, rule_set)
            self._metrics.connections_cut(count, self._clock.now() - self._since)
            level = logging.INFO if count else logging.DEBUG
            log.log(level, "cut %d connections of %d addresses, of %d", count, len(addresses), len(entries))
        elif rule_set is not None and self._remembered and not rule_set.isolates:
            # No gate is left that could deny what was cut.
            await self._kernel.forget_cut()
            self._remembered = False
        self._done = rule_set

    async def _cut(self, denied: Sequence[Entry], rule_set: RuleSet) -> int:
        count, left = 0, iter(denied)
        while several := list(islice(left, AT_ONCE)):
            if self._now is not None and self._now is not rule_set:
                # What a later rule set admits again goes on.
                several = _denied(several, self._now)
            if several:
                count += await self._kernel.cut(several)
        return count


def _denied(entries: Iterable[Entry], rule_set: RuleSet) -> list[Entry]:
    denials = Denials(rule_set)
    return [entry for entry in entries if denials.denies(entry.flow)]
