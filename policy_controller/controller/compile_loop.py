"""From a changed store to what each connected node should have: waits until changes pause, compiles, hands over.

Knows when to compile and for whom. Knows nothing of how (compilers/) or of what is sent (sessions.py).
Cluster states are immutable, so the compiler runs in a thread while events go on filling the store.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from compilers.compile import Compiler
from compilers.compile.room import ROOMS, Rooms
from compilers.model.cluster import Pod
from compilers.model.faults import Fault, ObjectRef
from compilers.model.words import Address
from compilers.ruleset.owners import Owners, ended, owners_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock, wait_for
from policy_controller.controller.sessions import Desired
from policy_controller.controller.store import State, Store
from policy_controller.controller.streams import NodeStreams

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 0.2
"""However many changes follow each other, the first waits no longer."""
RETRY_SECONDS: Final = 5.0
"""After a compiler error, unless something changes before."""

Conflict = tuple[Address, tuple[Pod, ...]]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found. A node that does not compile keeps what it has; the others are served."""

    compiler: Compiler | None
    desired: Mapping[str, Desired] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    owners: Owners = field(default_factory=dict)
    ended: frozenset[Address] = frozenset()
    """Addresses that are no longer those of the pods they were in the round before."""
    without_room: Mapping[str, tuple[Fault, ...]] = field(default_factory=dict)
    """By node: policies whose pods are closed because they take up more than there is room for."""
    shut: Mapping[str, frozenset[ObjectRef]] = field(default_factory=dict)
    """By node: all policies that select those pods."""


class CompileLoop:
    """Keeps every connected node's session told of the rule set it should have."""

    def __init__(
        self, store: Store, streams: NodeStreams, clock: Clock, debounce: float, rooms: Rooms = ROOMS
    ) -> None:
        self._store = store
        self._streams = streams
        self._clock = clock
        self._debounce = debounce
        self._rooms = rooms
        self._wake = asyncio.Event()
        self._woken_at: float | None = None
        """When the first change came that no round has begun with."""
        self._round_since: float | None = None
        self._begun = False
        """Whether there is anything to compile."""
        self._last = Round(None)
        self._conflicts: frozenset[tuple[Address, frozenset[str]]] = frozenset()
        self._listeners: list[Callable[[float], None]] = []
        self.revision: int | None = None
        """The store's revision that was compiled last; None before the first time."""
        self.failures = 0

    @property
    def without_room(self) -> tuple[Fault, ...]:
        """Policies whose pods are closed on a connected node because they take up too much room, sorted."""
        return tuple(sorted({fault for faults in self._last.without_room.values() for fault in faults}))

    @property
    def compiler(self) -> Compiler | None:
        """Of the state of `revision`; None where that does not compile, or nothing was compiled yet."""
        return self._last.compiler

    @property
    def shut(self) -> Mapping[str, frozenset[ObjectRef]]:
        """By connected node: all policies that select pods which are closed for want of room."""
        return self._last.shut

    def subscribe(self, listener: Callable[[float], None]) -> None:
        """Call `listener` after every round, with the seconds it took."""
        self._listeners.append(listener)

    def wake(self) -> None:
        """Something changed: the store, or who is connected."""
        self._wake.set()
        if self._woken_at is None:
            self._woken_at = self._clock.now()

    @property
    def failing(self) -> bool:
        """Whether the last round left a node, or all of them, with an older state than the cluster's."""
        return bool(self._last.failed) or (self.revision is not None and self._last.compiler is None)

    def behind_seconds(self) -> float:
        """For how long a round has been going on, or changes have been waiting for one; 0 when there is nothing to do."""
        if not self._begun:
            return 0.0
        since = [moment for moment in (self._round_since, self._woken_at) if moment is not None]
        return self._clock.now() - min(since) if since else 0.0

    async def run(self, *known: asyncio.Event) -> None:
        """Compile until cancelled, from when all of these are set: the store knows the whole cluster."""
        for event in known:
            await event.wait()
        # What changed before could not be compiled.
        self._woken_at = None
        self.wake()
        self._begun = True
        while True:
            await wait_for(self._wake, self._clock, RETRY_SECONDS if self.failing else None)
            await self._settled()
            began = self._round_since = self._clock.now()
            self._woken_at = None
            await self._round()
            self._round_since = None
            for listener in self._listeners:
                listener(self._clock.now() - began)

    async def _settled(self) -> None:
        """Return when nothing has changed for the debounce, or LONGEST_WAIT_SECONDS after the first change."""
        until = self._clock.now() + LONGEST_WAIT_SECONDS
        self._wake.clear()
        while (left := until - self._clock.now()) > 0:
            await self._clock.sleep(min(self._debounce, left))
            if not self._wake.is_set():
                return
            self._wake.clear()

    async def _round(self) -> None:
        state, nodes = self._store.state(), self._streams.nodes
        last = self._last if state.revision == self.revision else replace(self._last, compiler=None)
        done = await asyncio.to_thread(compile_round, state, nodes, last, self._rooms)
        self._streams.note_ended(state.stands.pods, done.ended)
        for node, desired in done.desired.items():
            self._streams.desire(node, desired)
        self.failures += len(done.failed) or (done.compiler is None)
        self._last = done
        self.revision = state.revision
        self._log_conflicts(done.conflicts)

    def _log_conflicts(self, conflicts: tuple[Conflict, ...]) -> None:
        """Say of each conflict once that it began."""
        known, self._conflicts = (
            self._conflicts,
            frozenset((address, frozenset(pod.uid for pod in pods)) for address, pods in conflicts),
        )
        for address, pods in conflicts:
            if (address, frozenset(pod.uid for pod in pods)) not in known:
                log.warning(
                    "%s is reported by %d pods; it counts as %s alone", address, len(pods), pods[-1].ref
                )


def compile_round(state: State, nodes: tuple[str, ...], last: Round, rooms: Rooms = ROOMS) -> Round:
    """The rule sets of these nodes. `last.compiler` is one of this very state, or None; never raises."""
    before, compiler, owners = last.desired, last.compiler, last.owners
    known = before if compiler is not None else {}
    if compiler is None:
        try:
            compiler, owners = Compiler(state.cluster, rooms), owners_of(state.cluster)
        except Exception:
            # The nodes keep what they have, and the next state may compile: what ended until then, it tells.
            log.exception("the cluster state does not compile")
            return Round(None, before, owners=last.owners, without_room=last.without_room, shut=last.shut)
    desired: dict[str, Desired] = {}
    without_room: dict[str, tuple[Fault, ...]] = {}
    shut: dict[str, frozenset[ObjectRef]] = {}
    failed: list[str] = []
    for node in nodes:
        if node in known:
            desired[node] = Desired(known[node].rule_set, state.stands, known[node].digest, state.revision)
            without_room[node] = last.without_room.get(node, ())
            shut[node] = last.shut.get(node, frozenset())
            continue
        try:
            compiled = compiler.compiled(node)
            desired[node] = _desired(compiled.rule_set, state, before.get(node))
            without_room[node] = compiled.faults
            shut[node] = compiled.shut
        except Exception:
            # One node that does not compile must not keep the others from being served.
            log.exception("the rule set of node %s does not compile", node)
            failed.append(node)
    return Round(
        compiler,
        desired,
        tuple(failed),
        state.cluster.conflicts,
        owners,
        ended(last.owners, owners),
        without_room,
        shut,
    )


def _desired(rule_set: RuleSet, state: State, before: Desired | None) -> Desired:
    if before is not None and before.rule_set == rule_set:
        return Desired(before.rule_set, state.stands, before.digest, state.revision)
    return Desired.of(rule_set, state.stands, state.revision)
