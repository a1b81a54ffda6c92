"""What others change in our tables is mended soon and told, at a bounded pace: a kernel in memory and a clock that a test moves."""

import asyncio
import errno
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import pytest

from compilers.nftables.expressions import ACCEPT, Counter
from compilers.nftables.render import Tables, render
from compilers.nftables.table import Rule, TableName
from compilers.nftables.transaction import (
    AddChain,
    AddRule,
    AddTable,
    Command,
    DeleteChain,
    DeleteTable,
    FlushChain,
    NftRejectedError,
    Rejection,
    Transaction,
)
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.commits import Author, Commit
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.pace import AT_ONCE, CALM_SECONDS, FIGHT, LONGEST_SECONDS
from policy_controller.enforcer.reports import PAUSE_SECONDS, Reports
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.tampering import AGAIN_SECONDS, JITTER, LISTEN_AGAIN_SECONDS, Tampering
from policy_controller.enforcer.telling import Telling
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import NODE, WEB_CHANGED, WEB_ISOLATED, base
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_commits import TellingNft
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import SnapshotMessage, Stands, Tampered

BASE = base()
INET, BRIDGE = BASE.inet.identity, BASE.bridge.identity
DESIRED = render(WEB_ISOLATED, BASE)
COMPARE_SECONDS = 300.0
OPENED = (FlushChain(INET, "forward"), AddRule(INET, "forward", Rule((Counter(), ACCEPT))))
FLUSHED = (DeleteTable(INET), DeleteTable(BRIDGE))
SAID_AT = 1_700_000_000
STEPS = 10
MEDDLER = "meddler_0"


class Meddled(TellingNft):
    """Others act on it in a thread of theirs; the writer may be refused, and listening may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False
        self.deaf = False
        self._others = ThreadPoolExecutor(1, "meddler")

    def meddle(self, *commands: Command) -> None:
        self._others.submit(TellingNft.run, self, Transaction(commands)).result()

    def untold(self, *commands: Command) -> None:
        FakeNft.run(self, Transaction(commands))

    def run(self, transaction: Transaction) -> None:
        if self.refuses:
            raise NftRejectedError(Rejection.OTHER, "it is so")
        super().run(transaction)

    async def next(self) -> tuple[Commit, ...]:
        if self.deaf:
            raise OSError(errno.ENOMEM, "Out of memory")
        return await super().next()

    def tables(self) -> Tables | None:
        inet, bridge = (self.list_table(one.family, one.name) for one in (INET, BRIDGE))
        return Tables(inet, bridge) if inet is not None and bridge is not None else None


@dataclass
class Node:
    """An enforcer that is told of commits."""

    nft: Meddled
    clock: FakeClock
    enforcement: Enforcement
    tampering: Tampering
    reports: Reports
    metrics: Metrics

    def counted(self, line: str) -> bool:
        return f"policy_enforcer_{line}\n" in self.metrics.text().decode()

    @property
    def looks(self) -> int:
        (line,) = (
            line
            for line in self.metrics.text().decode().splitlines()
            if line.startswith('policy_enforcer_comparisons_total{occasion="suspicion"}')
        )
        return int(float(line.rpartition(" ")[2]))

    async def mended(self) -> None:
        await until(lambda: self.nft.tables() == DESIRED)
        await self.settled()

    async def settled(self) -> None:
        """What is due has been done."""
        for _ in range(10):
            await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float) -> None:
        """In steps, between which the kernel gets to do its work: it does not wait for this clock."""
        await self.settled()
        for _ in range(STEPS):
            await self.clock.advance(seconds / STEPS)
            await self.settled()


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    """It enforces DESIRED, and has no reason to look."""
    nft, clock, metrics = Meddled(), FakeClock(), Metrics()
    kernel, reports = Kernel(nft, FakeConnections(), FakeResidence(), BASE, clock), Reports(clock)
    enforcement = Enforcement(kernel, BASE, Session(NODE), UnknownGates(), clock, metrics)
    telling = Telling(reports, metrics, clock, wall=lambda: SAID_AT)
    tampering = Tampering(nft, kernel, enforcement, telling, clock, COMPARE_SECONDS, Random(1))  # noqa: S311 - the same times in every run
    await enforcement.adopt()
    enforcement.begin_stream()
    task = asyncio.create_task(tampering.run())
    one = Node(nft, clock, enforcement, tampering, reports, metrics)
    try:
        await enforcement.receive(encode_operator(SnapshotMessage(1, Stands(), WEB_ISOLATED)))
        await one.settled()
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kernel.close()


async def test_the_writers_own_commits_are_no_reason_to_look() -> None:
    async with node() as one:
        await one.enforcement.receive(encode_operator(SnapshotMessage(2, Stands(), WEB_CHANGED)))
        await one.settled()
        assert one.nft.tables() == render(WEB_CHANGED, BASE)
        assert one.looks == 0


async def test_other_tables_are_no_reason_to_look() -> None:
    async with node() as one:
        foreign = TableName(TableFamily.INET, "foreign")
        one.nft.meddle(AddTable(foreign), AddChain(foreign, "c"))
        await one.settled()
        assert one.looks == 0


@pytest.mark.parametrize("harm", [OPENED, FLUSHED], ids=["opened", "flushed"])
async def test_what_others_do_is_mended_at_once_and_told_with_who_it_was(harm: tuple[Command, ...]) -> None:
    async with node() as one:
        one.nft.meddle(*harm)
        assert one.nft.tables() != DESIRED
        await one.mended()
        assert one.clock.now() == 0
        report = await one.reports.next()
        touched = (TableFamily.INET,) if harm is OPENED else tuple(TableFamily)
        assert (report.process, report.tables, report.times, report.at) == (MEDDLER, touched, 1, SAID_AT)
        assert one.counted(f'tampered_total{{process="{MEDDLER}"}} 1.0')
        assert one.counted("mend_seconds_count 1.0")
        assert one.tampering.trouble is None
        # One look more, since the first may not have seen everything; it finds nothing, and then there is rest.
        await one.pass_time(2 * AGAIN_SECONDS)
        assert one.looks == 2
        await one.pass_time(COMPARE_SECONDS / 2)
        assert one.looks == 2


async def test_who_leaves_things_as_they_should_be_is_not_accused() -> None:
    async with node() as one:
        mended = DESIRED.inet.chain("forward")
        one.nft.meddle(
            FlushChain(INET, "forward"), *(AddRule(INET, "forward", rule) for rule in mended.rules)
        )
        one.nft.meddle(AddChain(INET, "strange"), DeleteChain(INET, "strange"))
        await one.pass_time(LONGEST_SECONDS)
        assert one.counted("mend_seconds_count 0.0")


async def test_lost_notifications_make_it_look_at_everything() -> None:
    async with node() as one:
        one.nft.lose()
        await one.settled()
        assert one.looks == 1
        assert one.counted("notifications_lost_total 1.0")
        assert one.counted("mend_seconds_count 0.0")


async def test_who_is_not_told_of_is_found_by_the_routine_look_and_called_unknown() -> None:
    async with node() as one:
        one.nft.untold(*OPENED)
        await one.pass_time(COMPARE_SECONDS * (1 - JITTER) - 1)
        assert one.nft.tables() != DESIRED
        await one.pass_time(COMPARE_SECONDS * 2 * JITTER + 1)
        assert one.nft.tables() == DESIRED
        assert await one.reports.next() == Tampered("unknown", 0, tuple(TableFamily), 1, SAID_AT)


async def test_a_look_that_does_not_come_is_late() -> None:
    async with node() as one:
        await one.pass_time(COMPARE_SECONDS / 2)
        assert one.tampering.late_seconds() == 0.0
        async with one.enforcement._turn:
            await one.clock.advance(2 * COMPARE_SECONDS)
            assert one.tampering.late_seconds() > COMPARE_SECONDS
        await until(lambda: one.tampering.late_seconds() == 0.0)


async def test_whoever_changes_them_again_and_again_is_undone_each_time_and_at_most_once_a_second() -> None:
    async with node() as one:
        for _ in range(2 * AT_ONCE):
            one.nft.meddle(*OPENED)
            await one.pass_time(LONGEST_SECONDS)
            assert one.nft.tables() == DESIRED
        # Many changes between two looks are undone by one.
        before = one.looks
        for _ in range(200):
            one.nft.meddle(*OPENED)
            await one.clock.advance(0.01)
        await one.pass_time(LONGEST_SECONDS)
        assert one.nft.tables() == DESIRED
        assert one.looks - before <= 5
        trouble = one.tampering.trouble
        assert trouble is not None
        assert f"{MEDDLER} (pid " in trouble
        await one.pass_time(CALM_SECONDS + 1)
        assert one.tampering.trouble is None
        one.nft.meddle(*OPENED)
        await one.mended()


async def test_a_fight_is_told_to_the_operator_now_and_then_with_how_often_it_was() -> None:
    async with node() as one:
        told: list[Tampered] = []

        async def tell() -> None:
            while True:
                told.append(await one.reports.next())

        telling = asyncio.create_task(tell())
        for _ in range(2 * FIGHT):
            one.nft.meddle(*OPENED)
            await one.pass_time(LONGEST_SECONDS)
        await one.pass_time(PAUSE_SECONDS)
        telling.cancel()
        assert told[0].times == 1
        assert sum(one.times for one in told) == 2 * FIGHT
        assert len(told) <= 2 * FIGHT * LONGEST_SECONDS / PAUSE_SECONDS + 2


async def test_a_kernel_that_refuses_to_mend_is_asked_until_it_does() -> None:
    async with node() as one:
        one.nft.refuses = True
        one.nft.meddle(*FLUSHED)
        for _ in range(5):
            await one.pass_time(LONGEST_SECONDS)
        trouble = one.enforcement.trouble
        assert trouble is not None
        assert "it is so" in str(trouble)
        before = one.looks
        for _ in range(5):
            await one.pass_time(LONGEST_SECONDS)
        assert before < one.looks <= before + 6
        one.nft.refuses = False
        for _ in range(3):
            await one.pass_time(LONGEST_SECONDS)
        await one.mended()
        assert one.enforcement.trouble is None
        assert (await one.reports.next()).process == MEDDLER


async def test_who_cannot_hear_says_so_and_looks_each_second() -> None:
    async with node() as one:
        one.nft.deaf = True
        one.nft.meddle(AddChain(INET, "strange"))
        await one.mended()
        for _ in range(2):
            one.nft.untold(*OPENED)
            await one.pass_time(LISTEN_AGAIN_SECONDS + 2 * LONGEST_SECONDS)
            assert one.nft.tables() == DESIRED
        assert one.tampering.trouble == "whether others change the tables is not heard: Out of memory"
        one.nft.deaf = False
        await one.pass_time(2 * LISTEN_AGAIN_SECONDS)
        assert one.tampering.trouble is None


def test_an_author_is_called_by_name_and_number() -> None:
    assert str(Author(7, "nft")) == "nft (pid 7)"
