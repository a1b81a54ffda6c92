"""What an enforcer that is killed leaves to the next: nothing older comes back, and what must end ends, whenever it was killed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Final

import pytest

from compilers.model.words import Address
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.conntrack import ConnectionsError
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.presence import LOOK_SECONDS
from policy_controller.enforcer.saving import NAME, Saving
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.tests.operator_double import DEADLINE
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    NODE,
    ONE,
    WEB_CHANGED,
    WEB_ISOLATED,
    WEB_SUCCEEDED,
)
from policy_controller.enforcer.tests.test_connections import (
    OF_PEER,
    OF_WEB,
    OF_WEB6,
    OTHERS,
    PEER,
    addresses,
    connection,
    held,
)
from policy_controller.enforcer.tests.test_departed import RUNNING, WEB_LEFT, gates, gone
from policy_controller.enforcer.tests.test_enforcement import BASE, Node, Refusing
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_connections import FakeConnection, FakeConnections
from policy_controller.testing.fake_disk import FakeDisk
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Hello,
    InForce,
    Nack,
    NackCause,
    SnapshotMessage,
    Stands,
)
from policy_controller.wire.saved import MOST_BYTES, decode_saved

FIRST: Final = Stands(10, 10, 10, 10)
SECOND: Final = Stands(20, 20, 20, 20)
FOR_EVER: Final = 1 << 31


@dataclass
class Ground:
    """What outlives an enforcer: the kernel's tables and connections, who is on the node, and the node's disk."""

    nft: Refusing = field(default_factory=Refusing)
    connections: FakeConnections = field(default_factory=FakeConnections)
    residence: FakeResidence = field(default_factory=FakeResidence)
    disk: FakeDisk = field(default_factory=FakeDisk)

    def saved(self) -> SnapshotMessage | None:
        """What the file holds; None while there is none."""
        try:
            return decode_saved(self.disk.read(NAME, MOST_BYTES), NODE)
        except FileNotFoundError:
            return None

    def holds(self, stands: Stands, ended: frozenset[Address] = frozenset()) -> bool:
        """Whether the file stands for this, and says that connections of these addresses must end."""
        saved = self.saved()
        return saved is not None and (saved.stands, saved.ended) == (stands, ended)


@asynccontextmanager
async def living(ground: Ground) -> AsyncIterator[Node]:
    """An enforcer with a stream, that is killed when the block ends."""
    clock, session, metrics = FakeClock(), Session(NODE), Metrics()
    kernel = Kernel(ground.nft, ground.connections, ground.residence, BASE, clock)
    enforcement = Enforcement(kernel, BASE, session, UnknownGates(), clock, metrics)
    saving = Saving(ground.disk, NODE, clock, metrics)
    await enforcement.adopt(await saving.read())
    enforcement.begin_stream()
    parts = [
        asyncio.create_task(enforcement.keep_gates()),
        asyncio.create_task(saving.keep(enforcement.committed, lambda: enforcement.to_save)),
    ]
    try:
        yield Node(ground.nft, ground.connections, ground.residence, clock, session, metrics, enforcement)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        kernel.close()
        saving.close()


async def passes(one: Node, condition: Callable[[], bool]) -> None:
    """Let time pass until it is so."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)
            await one.clock.advance(0.5)


def second(old: RuleSet, new: RuleSet, ended: frozenset[Address]) -> DeltaMessage:
    return DeltaMessage(1, 2, SECOND, digest_of(new), difference(old, new), ended)


@pytest.mark.parametrize("kind", ["pods", "namespaces", "policies", "settings"])
async def test_a_state_that_does_not_say_how_late_it_is_makes_no_later_enforcer_forget_the_one_before(
    kind: str,
) -> None:
    ground = Ground()
    async with living(ground) as one:
        assert isinstance(await one.snapshot(1, WEB_ISOLATED, SECOND), Ack)
        untold = replace(Stands(30, 30, 30, 30), **{kind: 0})
        assert isinstance(await one.snapshot(2, WEB_CHANGED, untold), Ack)
        latest = replace(untold, **{kind: 20})
        await passes(one, lambda: ground.holds(latest))
    async with living(ground) as one:
        assert one.enforcement.begin_stream() == Hello(NODE, InForce(2, digest_of(WEB_CHANGED), latest))
        answer = await one.snapshot(1, NOBODY_ISOLATED, replace(latest, **{kind: 15}))
        assert isinstance(answer, Nack)
        assert answer.cause is NackCause.OLDER


async def test_what_could_not_be_ended_the_next_enforcer_ends() -> None:
    ground = Ground(connections=held())
    async with living(ground) as one:
        await one.snapshot(1, WEB_ISOLATED, FIRST)
        ground.connections.refusals = FOR_EVER
        assert isinstance(await one.receive(second(WEB_ISOLATED, WEB_ISOLATED, PEER)), Ack)
        # The operator was told that it is in force, and does not tell of it again.
        await passes(one, lambda: ground.holds(SECOND, PEER))
    assert OF_PEER in ground.connections.held
    ground.connections.refusals = 0
    async with living(ground) as one:
        await passes(one, lambda: ground.connections.held == {OF_WEB, OF_WEB6, OTHERS})
        # The one after it has nothing to end: another pod may have the address by then.
        await passes(one, lambda: ground.holds(SECOND))


class Stuck(FakeConnections):
    """The kernel does not answer before the enforcer is killed, and nothing has ended then."""

    def __init__(self) -> None:
        super().__init__(held().held)
        self.asked = Event()
        self.killed = Event()

    def end(self, addresses: frozenset[Address]) -> int:
        self.asked.set()
        self.killed.wait(DEADLINE)
        raise ConnectionsError("whoever asked is gone")


@pytest.mark.parametrize(
    ("later", "ended", "left"),
    [
        pytest.param(WEB_SUCCEEDED, addresses(ONE), {OF_PEER, OTHERS}, id="the tables are others"),
        pytest.param(WEB_ISOLATED, PEER, {OF_WEB, OF_WEB6, OTHERS}, id="the tables are the same"),
    ],
)
async def test_an_enforcer_that_was_killed_before_it_ended_anything_hears_it_again(
    later: RuleSet, ended: frozenset[Address], left: set[FakeConnection]
) -> None:
    stuck = Stuck()
    ground = Ground(connections=stuck)
    async with living(ground) as one:
        await one.snapshot(1, WEB_ISOLATED, FIRST)
        await passes(one, lambda: ground.holds(FIRST))
        told = encode_operator(second(WEB_ISOLATED, later, ended))
        receiving = asyncio.create_task(one.enforcement.receive(told))
        await passes(one, stuck.asked.is_set)
        # Time enough to save, were that not waiting too.
        await one.clock.advance(60)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        stuck.killed.set()
    assert one.holds(later)
    ground.connections = held()
    async with living(ground) as one:
        # What the file stands for, so that the operator tells what has ended since.
        assert one.enforcement.begin_stream() == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), FIRST))
        assert isinstance(await one.receive(SnapshotMessage(1, SECOND, later, ended)), Ack)
        assert ground.connections.held == left
        await passes(one, lambda: ground.holds(SECOND))


async def test_what_a_departed_pod_had_open_ends_though_the_enforcer_was_killed_as_its_gates_went() -> None:
    ground = Ground(residence=FakeResidence(RUNNING))
    async with living(ground) as one:
        await one.snapshot(1, WEB_ISOLATED, FIRST)
        await one.receive(second(WEB_ISOLATED, WEB_LEFT, addresses(ONE)))
        await passes(one, lambda: ground.holds(SECOND, addresses(ONE)))
        ground.connections.held = frozenset({connection("10.0.0.1", "9.9.9.8"), OTHERS})
        ground.connections.refusals = FOR_EVER
        ground.residence.held = {}
        await passes(one, lambda: gone(one))
    ground.connections.refusals = 0
    async with living(ground) as one:
        await passes(one, lambda: ground.connections.held == {OTHERS})
        await passes(one, lambda: ground.holds(SECOND))


async def test_what_a_departed_pod_has_open_goes_on_for_the_next_enforcer_while_its_gates_stand() -> None:
    ground = Ground(residence=FakeResidence(RUNNING))
    async with living(ground) as one:
        await one.snapshot(1, WEB_ISOLATED, FIRST)
        await one.receive(second(WEB_ISOLATED, WEB_LEFT, addresses(ONE)))
        await passes(one, lambda: ground.holds(SECOND, addresses(ONE)))
        ground.connections.held = frozenset({connection("10.0.0.1", "9.9.9.8")})
    async with living(ground) as one:
        await one.clock.advance(2 * LOOK_SECONDS)
        await one.snapshot(1, WEB_LEFT, SECOND)
        assert gates(one) == addresses(ONE)
        assert ground.connections.held
        ground.residence.held = {}
        await passes(one, lambda: not ground.connections.held)
        assert gone(one)
