"""The conversation over a real gRPC stream, once there is one (test_way_in.py: how it comes about)."""

import asyncio
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom

import grpc.aio
import pytest

from compilers.model.words import Address
from compilers.nftables.render import render
from compilers.nftables.table import Table
from compilers.nftables.transaction import Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import SystemClock
from policy_controller.enforcer import stream as stream_module
from policy_controller.enforcer.credentials import LOOK_SECONDS
from policy_controller.enforcer.dry_run import dry_run
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.stream import LONGEST_WAIT, SHORTEST_WAIT, Backoff, enforce_call
from policy_controller.enforcer.tests.node import BASE, node
from policy_controller.enforcer.tests.operator_double import Site, reserved, serving, until
from policy_controller.enforcer.tests.states import (
    NODE,
    WEB,
    WEB_CHANGED,
    WEB_ISOLATED,
    pod,
    rule_set,
    untold,
)
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
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
    Tampered,
)

STANDS = Stands(1, 1, 1)
FIRST = SnapshotMessage(1, STANDS, WEB_ISOLATED)
SECOND = DeltaMessage(1, 2, STANDS, digest_of(WEB_CHANGED), difference(WEB_ISOLATED, WEB_CHANGED))


class Impatient(SystemClock):
    """Waits for files only, and notes for how long it was to wait otherwise. Each look at it takes so many seconds."""

    def __init__(self, a_look: float = 0.0) -> None:
        self.waits: list[float] = []
        self._a_look, self._now = a_look, 0.0

    def now(self) -> float:
        self._now += self._a_look
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds == LOOK_SECONDS:
            await super().sleep(seconds)
            return
        self.waits.append(seconds)
        await asyncio.sleep(0)


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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with reserved() as address:
        yield Site(tmp_path, address)


async def test_what_others_did_is_told_once_the_operator_has_said_something_and_again_if_it_was_not_told(
    tmp_path: Path,
) -> None:
    report = Tampered("nft", 7, (TableFamily.INET,), 1, 1)
    with reserved() as where:
        site = Site(tmp_path, where)
        async with serving(site) as operator, node(site) as one:
            one.reports.add(report)
            stream, hello = await operator.next_stream()
            assert hello == Hello(NODE)
            stream.end()
            stream, hello = await operator.next_stream()
            assert hello == Hello(NODE)
            # Answer and report go their own ways.
            heard = [await stream.say(FIRST), await stream.hear()]
            assert report in heard
            assert Ack(1, digest_of(WEB_ISOLATED)) in heard


async def test_a_stream_begins_with_hello_and_each_message_is_answered(site: Site) -> None:
    async with serving(site) as operator, node(site) as one:
        stream, hello = await operator.next_stream()
        assert hello == Hello(NODE)
        assert await stream.say(FIRST) == Ack(1, digest_of(WEB_ISOLATED))
        assert one.tables() == render(WEB_ISOLATED, BASE)
        assert await stream.say(SECOND) == Ack(2, digest_of(WEB_CHANGED))
        assert one.tables() == render(WEB_CHANGED, BASE)


async def test_a_refused_message_does_not_end_the_stream(site: Site) -> None:
    async with serving(site) as operator, node(site):
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
    site: Site,
) -> None:
    async with serving(site) as operator, node(site) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
        stream.end()
        again, hello = await operator.next_stream()
        assert hello == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), STANDS))
        await until(lambda: one.tables() == untold(WEB_ISOLATED, BASE))
        assert await again.say(FIRST) == Ack(1, digest_of(WEB_ISOLATED))
        assert one.tables() == render(WEB_ISOLATED, BASE)


async def test_an_operator_that_ends_before_it_is_answered_is_followed_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, calls = HeldUp(), list[stream_module.Call]()

    def noted(channel: grpc.aio.Channel, token: str) -> stream_module.Call:
        calls.append(enforce_call(channel, token))
        return calls[-1]

    monkeypatch.setattr(stream_module, "enforce_call", noted)
    async with serving(site) as operator, node(site, nft=kernel) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
        kernel.hold()
        saying = asyncio.create_task(stream.say(SECOND))
        await until(kernel.reached.is_set)
        stream.end()
        saying.cancel()
        await until(calls[0].done)
        kernel.go()
        again, hello = await operator.next_stream()
        assert hello.in_force == InForce(2, digest_of(WEB_CHANGED), STANDS)
        assert not one.task.done()
        assert isinstance(await again.say(SnapshotMessage(1, STANDS, WEB_CHANGED)), Ack)


async def test_an_operator_that_comes_late_or_again_is_found(site: Site) -> None:
    async with node(site) as one:
        await until(lambda: one.tables() is not None)
        for rule_set in (WEB_ISOLATED, WEB_CHANGED):
            async with serving(site) as operator:
                stream, _ = await operator.next_stream()
                await stream.say(SnapshotMessage(1, STANDS, rule_set))
            await until(lambda held=rule_set: one.tables() == untold(held, BASE))


async def test_the_rules_stay_when_the_enforcer_ends(site: Site) -> None:
    async with serving(site) as operator, node(site) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
    assert one.task.cancelled()
    assert one.tables() == render(WEB_ISOLATED, BASE)


@pytest.mark.parametrize(
    ("held", "first"), [(None, "# base"), (WEB_ISOLATED, ""), (WEB_CHANGED, "# prepare")]
)
async def test_a_dry_run_tells_what_a_snapshot_would_do_and_touches_nothing(
    site: Site, held: RuleSet | None, first: str
) -> None:
    nft = FakeNft()
    kernel = Kernel(nft, FakeConnections(), FakeResidence(), BASE, SystemClock())
    if held is not None:
        await kernel.adopt()
        await kernel.apply(render(held, BASE))
    before = [nft.list_table(family, BASE.inet.name) for family in TableFamily]
    async with serving(site) as operator:
        running = asyncio.create_task(dry_run(NODE, site.way, nft, FakeResidence(), BASE, UnknownGates()))
        stream, _ = await operator.next_stream()
        saying = asyncio.create_task(stream.say(FIRST))
        text = await running
        saying.cancel()
    assert text.partition("\n")[0] == first
    assert [nft.list_table(family, BASE.inet.name) for family in TableFamily] == before

    sent = Told(nft)
    applying = Kernel(sent, FakeConnections(), FakeResidence(), BASE, SystemClock())
    await applying.adopt()
    await applying.apply(render(WEB_ISOLATED, BASE))
    assert "".join(line for line in text.splitlines(keepends=True) if line[0] != "#") == sent.text
    kernel.close()
    applying.close()


async def test_a_dry_run_keeps_gates_of_a_pod_that_left_and_is_still_there(site: Site) -> None:
    nft, gone = FakeNft(), ip_address("10.0.0.9")
    kernel = Kernel(nft, FakeConnections(), FakeResidence(), BASE, SystemClock())
    await kernel.adopt()
    await kernel.apply(render(rule_set([pod("gone", str(gone), WEB)], [WEB]), BASE))
    texts = {}
    for links in ({gone: 7}, dict[Address, int]()):
        async with serving(site) as operator:
            dry = dry_run(NODE, site.way, nft, FakeResidence(links), BASE, UnknownGates())
            running = asyncio.create_task(dry)
            stream, _ = await operator.next_stream()
            saying = asyncio.create_task(stream.say(FIRST))
            texts[bool(links)] = await running
            saying.cancel()
    kernel.close()
    removed = f"delete element inet {BASE.inet.name} ingress4 {{ {gone} }}"
    assert removed in texts[False]
    assert removed not in texts[True]


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


async def test_streams_that_brought_something_are_followed_soon_and_others_ever_later(site: Site) -> None:
    clock = Impatient(a_look=1.0)
    async with serving(site) as operator, node(site, clock):
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


async def test_streams_that_end_as_soon_as_they_brought_something_are_followed_ever_later(site: Site) -> None:
    clock = Impatient()
    async with serving(site) as operator, node(site, clock):
        for _ in range(4):
            stream, _ = await operator.next_stream()
            await stream.say(FIRST)
            stream.end()
        await operator.next_stream()
    assert clock.waits[-1] > 2 * SHORTEST_WAIT


def test_waits_between_attempts_grow_to_a_limit_and_begin_anew_after_a_stream_that_lasted() -> None:
    backoff = Backoff(SystemRandom())
    waits = [backoff.next_wait() for _ in range(12)]
    bounds = [min(SHORTEST_WAIT * 2**attempt, LONGEST_WAIT) for attempt in range(12)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits)) == len(waits)
    for lasted in (None, 0.0, LONGEST_WAIT - 1):
        backoff.ended(lasted)
        assert backoff.next_wait() >= LONGEST_WAIT / 2
    backoff.ended(LONGEST_WAIT)
    assert backoff.next_wait() <= SHORTEST_WAIT
