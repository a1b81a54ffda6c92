"""Under a flood, no packet passes a gate that is closed before and after an enforcer adopts what an earlier one left.

Enforcers end between two phases or are killed, and the next has other settings and is told another state.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

import nft_templates
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables
from compilers.nftables.table import Table
from compilers.nftables.transaction import Transaction
from compilers.nftables.words import TableFamily
from policy_controller.clock import SystemClock
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.tests.operator_double import OperatorDouble, Site, serving
from policy_controller.testing.agreement.tests.flooded import Flooded, Tally
from policy_controller.testing.agreement.tests.flooded_states import NODE, State
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.test_atomicity import assert_atomic, flooding
from policy_controller.testing.agreement.tests.transitions import by_chance
from policy_controller.testing.extent import Extent
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.generators import seeded
from policy_controller.testing.laboratory import NetworkKind, inside
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import Ack, SnapshotMessage, Stands

pytestmark = [pytest.mark.packets, pytest.mark.timeout(900)]

ENFORCER: Final = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
INTERFACES: Final = (("cni0",), ("cni0", "cali*"))
"""What one enforcer is told of the pod interfaces, and the next: their base chains differ."""
END_SECONDS: Final = 10.0
"""How long an enforcer that was asked to end may take."""
LONGEST_APPLY: Final = 0.1
"""Seconds after a snapshot in which an enforcer is killed."""


class There:
    """The kernel of a namespace, whoever calls."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._nft = LibNft()

    def run(self, transaction: Transaction) -> None:
        with inside(self._namespace):
            self._nft.run(transaction)

    def check(self, transaction: Transaction) -> None:
        with inside(self._namespace):
            self._nft.check(transaction)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        with inside(self._namespace):
            return self._nft.list_table(family, name)


def base_of(interfaces: tuple[str, ...]) -> Base:
    return base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(interfaces),
    )


@pytest.fixture(scope="module")
def ground() -> Iterator[Flooded]:
    with flooding(NetworkKind.BRIDGE) as ground:
        yield ground


@pytest.fixture
async def operator(ground: Flooded, tmp_path: Path) -> AsyncIterator[tuple[OperatorDouble, Site]]:
    site = Site(tmp_path, HostPort("127.0.0.1", 9473))

    def there(listen: Callable[[], int]) -> int:
        return ground.laboratory.run_in(ground.node.namespace, listen)

    async with serving(site, where=there) as operator:
        yield operator, site


def states_of(extent: Extent, short: int, whole: int) -> tuple[State, ...]:
    return tuple(by_chance(seeded(len(INTERFACES)), extent.choose(short, whole)))


async def during(ground: Flooded, work: "asyncio.Task[int]") -> Tally:
    """The meters are read, and the floods paused, in a thread beside the event loop."""
    loop = asyncio.get_running_loop()

    async def done() -> int:
        return await work

    return await asyncio.to_thread(
        ground.during, lambda: asyncio.run_coroutine_threadsafe(done(), loop).result()
    )


async def test_no_packet_passes_while_tables_left_between_any_two_phases_are_adopted(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    states, rng = states_of(extent, 12, 200), seeded(1)
    there = There(ground.node.namespace)

    async def adopt_each() -> int:
        commits = 0
        for number, state in enumerate(states):
            base = base_of(INTERFACES[number % 2])
            kernel = Kernel(there, FakeConnections(), FakeResidence(), base, SystemClock())
            try:
                found = await kernel.adopt()
                commits += 1 + len(await kernel.apply(state.tables(base)))
            finally:
                kernel.close()
            ground.held = state.tables(base)
            assert found.inet.maps
            commits += leave_between_phases(there, ground.held, rng.choice(states).tables(base), rng)
        commits += await hold_the_last(there, ground, states[-1])
        return commits

    tally = await during(ground, asyncio.create_task(adopt_each()))
    record_property("adoptions under flood", len(states))
    assert_atomic(ground, tally, record_property)


def leave_between_phases(there: There, held: Tables, next_one: Tables, rng: Random) -> int:
    """What an enforcer leaves that ends on its way to the next state; how many transactions that took."""
    phases = [transaction for _, transaction in plan(held, next_one).each()]
    for transaction in phases[: rng.randrange(len(phases))]:
        there.run(transaction)
    return len(phases)


async def hold_the_last(there: There, ground: Flooded, state: State) -> int:
    kernel = Kernel(there, FakeConnections(), FakeResidence(), ground.base, SystemClock())
    try:
        await kernel.adopt()
        ground.held = state.tables(ground.base)
        return len(await kernel.apply(ground.held))
    finally:
        kernel.close()


async def test_no_packet_passes_while_enforcers_are_killed_and_others_adopt(
    ground: Flooded, extent: Extent, record_property: Record, operator: tuple[OperatorDouble, Site]
) -> None:
    states, rng = states_of(extent, 4, 40), seeded(2)
    double, site = operator

    async def live_each() -> int:
        for number, state in enumerate(states):
            flags = (
                *("--node", NODE, *site.flags()),
                *("--pod-interfaces", ",".join(INTERFACES[number % 2])),
                *("--unknown-pods", ("drop", "allow")[number // 2 % 2]),
            )
            process = await asyncio.to_thread(
                ground.laboratory.spawn, ground.node.namespace, (*ENFORCER, *flags)
            )
            try:
                stream, _ = await double.next_stream()
                stands = Stands(number + 1, number + 1, number + 1)
                answer = asyncio.create_task(stream.say(SnapshotMessage(1, stands, state.rule_set)))
                if number < len(states) - 1 and rng.random() < 0.5:
                    await asyncio.wait({answer}, timeout=rng.uniform(0, LONGEST_APPLY))
                    answer.cancel()
                else:
                    assert isinstance(await answer, Ack)
            finally:
                process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
                await asyncio.to_thread(process.wait, END_SECONDS)
        return len(states)

    tally = await during(ground, asyncio.create_task(live_each()))
    record_property("enforcers started and ended under flood", len(states))
    # The last state is in force, with nothing closed for unknown addresses: the operator has spoken.
    last = State(states[-1].cluster)
    ground.held = last.tables(base_of(INTERFACES[(len(states) - 1) % 2]))
    assert_atomic(ground, tally, record_property)
