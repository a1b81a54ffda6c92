"""The conversation over a real gRPC stream on a Unix socket."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import pytest

from compilers.nftables.render import Tables, render
from compilers.nftables.table import Table
from compilers.nftables.transaction import Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import Clock, SystemClock
from policy_controller.enforcer.dry_run import dry_run
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import BOTH, UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.stream import LONGEST_WAIT, SHORTEST_WAIT, Backoff, follow
from policy_controller.enforcer.tests.operator_double import serving, until
from policy_controller.enforcer.tests.states import NODE, WEB_CHANGED, WEB_ISOLATED, base
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
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

BASE = base()
STANDS = Stands(1, 1, 1)
FIRST = SnapshotMessage(1, STANDS, WEB_ISOLATED)
SECOND = DeltaMessage(1, 2, STANDS, digest_of(WEB_CHANGED), difference(WEB_ISOLATED, WEB_CHANGED))


SYSTEM = SystemClock()


class Impatient(SystemClock):
    """Never waits, and notes for how long it was to wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@dataclass
class Node:
    nft: FakeNft
    task: "asyncio.Task[None]"

    def tables(self) -> Tables | None:
        inet, bridge = (self.nft.list_table(family, BASE.inet.name) for family in TableFamily)
        return Tables(inet, bridge) if inet is not None and bridge is not None else None


class HeldUp(FakeNft):
    """A kernel that carries nothing out between `hold` and `go`; `reached` says that somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def go(self) -> None:
        self._open.set()

    def run(self, transaction: Transaction) -> None:
        if not self._open.is_set():
            self.reached.set()
            assert self._open.wait(10)
        super().run(transaction)


@asynccontextmanager
async def node(address: str, clock: Clock = SYSTEM, nft: FakeNft | None = None) -> AsyncIterator[Node]:
    """An enforcer on a fake kernel that follows the operator at the address."""
    nft, metrics = nft or FakeNft(), Metrics()
    kernel = Kernel(nft, FakeConnections(), BASE, clock)
    enforcement = Enforcement(kernel, BASE, Session(NODE), UnknownGates(), clock, metrics)

    async def enforce() -> None:
        await enforcement.adopt()
        async with asyncio.TaskGroup() as group:
            group.create_task(enforcement.keep_gates())
            group.create_task(follow(address, enforcement, clock, SystemRandom()))

    task = asyncio.create_task(enforce())
    try:
        yield Node(nft, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kernel.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/operator.sock"


async def test_a_stream_begins_with_hello_and_each_message_is_answered(address: str) -> None:
    async with serving(address) as operator, node(address) as one:
        stream, hello = await operator.next_stream()
        assert hello == Hello(NODE)
        assert await stream.say(FIRST) == Ack(1, digest_of(WEB_ISOLATED))
        assert one.tables() == render(WEB_ISOLATED, BASE)
        assert await stream.say(SECOND) == Ack(2, digest_of(WEB_CHANGED))
        assert one.tables() == render(WEB_CHANGED, BASE)


async def test_a_refused_message_does_not_end_the_stream(address: str) -> None:
    async with serving(address) as operator, node(address):
        stream, _ = await operator.next_stream()
        newer = encode_operator(FIRST)
        newer.protocol_version = 2
        answer = await stream.say_raw(newer)
        assert isinstance(answer, Nack)
        assert (answer.generation, answer.cause, answer.object) == (1, NackCause.INVALID, "protocol_version")
        answer = await stream.say(SECOND)
        assert isinstance(answer, Nack)
        assert answer.cause is NackCause.BASE
        assert isinstance(await stream.say(SnapshotMessage(3, STANDS, WEB_CHANGED)), Ack)


async def test_the_rules_stay_when_the_operator_hangs_up_and_the_next_stream_says_what_is_in_force(
    address: str,
) -> None:
    async with serving(address) as operator, node(address) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
        stream.end()
        again, hello = await operator.next_stream()
        assert hello == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), STANDS))
        await until(lambda: one.tables() == render(WEB_ISOLATED, BASE, BOTH))
        assert await again.say(FIRST) == Ack(1, digest_of(WEB_ISOLATED))
        assert one.tables() == render(WEB_ISOLATED, BASE)


async def test_an_operator_that_ends_before_it_is_answered_is_followed_again(address: str) -> None:
    kernel = HeldUp()
    async with serving(address) as operator, node(address, nft=kernel) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
        kernel.hold()
        saying = asyncio.create_task(stream.say(SECOND))
        await until(kernel.reached.is_set)
        stream.end()
        saying.cancel()
        # Nothing shows when the enforcer's end of the call has ended too; later than this it holds all the more.
        await asyncio.sleep(0.2)
        kernel.go()
        again, hello = await operator.next_stream()
        assert hello.in_force == InForce(2, digest_of(WEB_CHANGED), STANDS)
        assert not one.task.done()
        assert isinstance(await again.say(SnapshotMessage(1, STANDS, WEB_CHANGED)), Ack)


async def test_an_operator_that_comes_late_or_again_is_found(address: str) -> None:
    async with node(address) as one:
        await until(lambda: one.tables() is not None)
        for rule_set in (WEB_ISOLATED, WEB_CHANGED):
            async with serving(address) as operator:
                stream, _ = await operator.next_stream()
                await stream.say(SnapshotMessage(1, STANDS, rule_set))
            await until(lambda held=rule_set: one.tables() == render(held, BASE, BOTH))


async def test_the_rules_stay_when_the_enforcer_ends(address: str) -> None:
    async with serving(address) as operator, node(address) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
    assert one.task.cancelled()
    assert one.tables() == render(WEB_ISOLATED, BASE)


@pytest.mark.parametrize(
    ("held", "first"), [(None, "# base"), (WEB_ISOLATED, ""), (WEB_CHANGED, "# prepare")]
)
async def test_a_dry_run_tells_what_a_snapshot_would_do_and_touches_nothing(
    address: str, held: RuleSet | None, first: str
) -> None:
    nft = FakeNft()
    kernel = Kernel(nft, FakeConnections(), BASE, SystemClock())
    if held is not None:
        await kernel.adopt()
        await kernel.apply(render(held, BASE))
    before = [nft.list_table(family, BASE.inet.name) for family in TableFamily]
    async with serving(address) as operator:
        running = asyncio.create_task(dry_run(NODE, address, nft, BASE, UnknownGates()))
        stream, _ = await operator.next_stream()
        saying = asyncio.create_task(stream.say(FIRST))
        text = await running
        saying.cancel()
    assert text.partition("\n")[0] == first
    assert [nft.list_table(family, BASE.inet.name) for family in TableFamily] == before

    sent = Told(nft)
    applying = Kernel(sent, FakeConnections(), BASE, SystemClock())
    await applying.adopt()
    await applying.apply(render(WEB_ISOLATED, BASE))
    assert "".join(line for line in text.splitlines(keepends=True) if line[0] != "#") == sent.text
    kernel.close()
    applying.close()


class Told(FakeNft):
    """Carries out on another, and keeps the text."""

    def __init__(self, nft: FakeNft) -> None:
        super().__init__()
        self._nft = nft
        self.text = ""

    def run(self, transaction: Transaction) -> None:
        self.text += transaction.text()
        self._nft.run(transaction)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        return self._nft.list_table(family, name)


async def test_streams_that_brought_something_are_followed_soon_and_others_ever_later(address: str) -> None:
    clock = Impatient()
    async with serving(address) as operator, node(address, clock):
        for _ in range(4):
            stream, _ = await operator.next_stream()
            await stream.say(FIRST)
            stream.end()
        for _ in range(4):
            stream, _ = await operator.next_stream()
            stream.end()
        await operator.next_stream()
    fruitful, fruitless = clock.waits[:4], clock.waits[4:8]
    assert max(fruitful) <= SHORTEST_WAIT
    assert fruitless[-1] > 2 * SHORTEST_WAIT


def test_waits_between_attempts_grow_to_a_limit_and_begin_anew_after_success() -> None:
    backoff = Backoff(SystemRandom())
    waits = [backoff.next_wait() for _ in range(12)]
    bounds = [min(SHORTEST_WAIT * 2**attempt, LONGEST_WAIT) for attempt in range(12)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits)) == len(waits)
    backoff.succeeded()
    assert backoff.next_wait() <= SHORTEST_WAIT
