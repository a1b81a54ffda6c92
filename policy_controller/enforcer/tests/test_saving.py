"""What is in force reaches its file soon and without haste, and a disk that refuses or hangs holds nothing up."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from threading import Event

import pytest

from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.saving import NAME, PAUSE_SECONDS, Saving
from policy_controller.enforcer.session import Generation
from policy_controller.enforcer.tests.operator_double import until
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    NODE,
    SWITCHED_OFF,
    WEB_CHANGED,
    WEB_ISOLATED,
)
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_disk import FakeDisk
from policy_controller.wire.messages import SnapshotMessage, Stands
from policy_controller.wire.saved import MOST_BYTES, Flaw, encode_saved


def generation(number: int, rule_set: RuleSet) -> Generation:
    return Generation(number, Stands(number, number, number), digest_of(rule_set), rule_set)


class HangingDisk(FakeDisk):
    """Does nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.go.set()

    def step(self) -> None:
        self.go.wait()
        super().step()

    def read(self, name: str, most: int) -> bytes:
        self.go.wait()
        return super().read(name, most)


@dataclass
class File:
    """The file of a node, and what is in force there."""

    disk: HangingDisk = field(default_factory=HangingDisk)
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: Metrics = field(default_factory=Metrics)
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    in_force: Generation | None = None

    def saving(self) -> Saving:
        return Saving(self.disk, NODE, self.clock, self.metrics)

    def commit(self, number: int, rule_set: RuleSet) -> None:
        self.in_force = generation(number, rule_set)
        self.committed.set()

    def put(self, content: bytes) -> None:
        file = self.disk.create(NAME)
        file.write(content)
        file.close()

    async def held(self) -> Generation | None:
        """What a new enforcer would read."""
        reading = Saving(self.disk, NODE, FakeClock(), Metrics())
        try:
            return await reading.read()
        finally:
            reading.close()

    async def holds(self, number: int) -> None:
        """Return when it does; no time passes on its clock."""
        async with asyncio.timeout(10):
            while (found := await self.held()) is None or found.number != number:  # noqa: ASYNC110 - a file sets no event
                await asyncio.sleep(0.001)
        assert found == self.in_force

    def writes(self) -> int:
        return self.counted("save_seconds_count")

    def counted(self, name: str) -> int:
        lines = self.metrics.text().decode().splitlines()
        (line,) = (line for line in lines if line.startswith(f"policy_enforcer_{name} "))
        return int(float(line.rpartition(" ")[2]))


@asynccontextmanager
async def keeping(file: File) -> AsyncIterator[Saving]:
    saving = file.saving()
    task = asyncio.create_task(saving.keep(file.committed, lambda: file.in_force))
    try:
        yield saving
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        file.disk.go.set()
        saving.close()


async def test_a_change_is_saved_at_once_and_those_that_follow_soon_together() -> None:
    file = File()
    async with keeping(file):
        file.commit(1, WEB_ISOLATED)
        await file.holds(1)
        await until(lambda: file.writes() == 1)
        for number in range(2, 50):
            file.commit(number, (NOBODY_ISOLATED, WEB_CHANGED)[number % 2])
            await asyncio.sleep(0)
        await file.clock.advance(9.9)
        assert file.writes() == 1
        await file.clock.advance(0.1)
        await file.holds(49)
        await until(lambda: file.writes() == 2)
        await file.clock.advance(100)
        assert file.writes() == 2
        file.commit(50, WEB_ISOLATED)
        await file.holds(50)


async def test_the_switch_of_the_cluster_is_saved_at_once() -> None:
    file = File()
    async with keeping(file):
        file.commit(1, WEB_ISOLATED)
        await file.holds(1)
        file.commit(2, SWITCHED_OFF)
        await file.holds(2)
        # What follows it has time again.
        file.commit(3, replace(SWITCHED_OFF, pods={}))
        await file.clock.advance(PAUSE_SECONDS - 0.1)
        assert file.writes() == 2
        file.commit(4, WEB_CHANGED)
        await file.holds(4)
        assert file.writes() == 3


async def test_a_write_that_takes_long_is_followed_by_a_long_pause() -> None:
    file = File()
    async with keeping(file):
        file.disk.go.clear()
        file.commit(1, WEB_ISOLATED)
        await file.clock.advance(3)
        file.disk.go.set()
        await until(lambda: file.writes() == 1)
        file.commit(2, WEB_CHANGED)
        await file.clock.advance(59)
        assert file.writes() == 1
        await file.clock.advance(1)
        await file.holds(2)


async def test_what_the_file_holds_is_not_written_again() -> None:
    file = File()
    file.put(encode_saved(SnapshotMessage(7, Stands(7, 7, 7), WEB_ISOLATED)))
    steps = file.disk.steps
    saving = file.saving()
    assert await saving.read() == generation(7, WEB_ISOLATED)
    # Another stream counts anew.
    again = Generation(1, Stands(7, 7, 7), digest_of(WEB_ISOLATED), WEB_ISOLATED)
    await saving.save(again)
    assert file.disk.steps == steps
    # The same rule set, but it stands for more: nothing older than that may come back.
    await saving.save(generation(8, WEB_ISOLATED))
    assert await file.held() == generation(8, WEB_ISOLATED)
    saving.close()


async def test_the_end_of_the_enforcer_writes_what_is_left() -> None:
    file = File()
    async with keeping(file) as saving:
        file.commit(1, WEB_ISOLATED)
        await file.holds(1)
        await until(lambda: file.writes() == 1)
        file.commit(2, WEB_CHANGED)
        await saving.finish(file.in_force)
        assert await file.held() == file.in_force


async def test_an_enforcer_to_which_nothing_was_said_leaves_the_file_alone() -> None:
    file = File()
    saving = file.saving()
    assert await saving.read() is None
    assert not saving.refused
    await saving.finish(None)
    assert file.disk.steps == 0


@pytest.mark.parametrize(
    ("number", "label"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EROFS, "read_only"),
        (errno.ENOENT, "missing"),
        (errno.EACCES, "denied"),
        (errno.EIO, "other"),
    ],
)
@pytest.mark.parametrize("step", range(1, 7))
async def test_a_disk_that_refuses_is_told_once_and_tried_again(
    number: int, label: str, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = File()
    async with keeping(file) as saving:
        file.commit(1, WEB_ISOLATED)
        await file.holds(1)
        await file.clock.advance(10)
        file.disk.failure = OSError(number, "it is so")
        file.disk.fails_at = file.disk.steps + step
        file.commit(2, WEB_CHANGED)
        await until(lambda: saving.trouble is not None)
        assert saving.trouble is not None
        assert "it is so" in saving.trouble
        found = await file.held()
        assert found is not None
        assert found.number in (1, 2)
        assert file.counted(f'save_failures_total{{reason="{label}"}}') == 1
        await file.clock.advance(29.9)
        assert saving.failing_seconds() == pytest.approx(29.9)
        await file.clock.advance(0.1)
        await file.holds(2)
        await until(lambda: saving.trouble is None)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1


async def test_a_disk_that_goes_on_refusing_is_asked_ever_less() -> None:
    file = File()
    file.disk.failure = OSError(errno.ENOSPC, "it is so")
    async with keeping(file) as saving:
        for attempt, wait in enumerate((0, 30, 60, 120, 240, 300, 300), 1):
            file.disk.fails_at = file.disk.steps + 1
            file.commit(attempt, WEB_ISOLATED)
            if wait:
                await file.clock.advance(wait - 0.1)
                assert file.counted('save_failures_total{reason="full"}') == attempt - 1
                await file.clock.advance(0.1)
            await until(lambda attempt=attempt: file.counted('save_failures_total{reason="full"}') == attempt)
        assert saving.failing_seconds() == pytest.approx(1050)


async def test_a_disk_that_hangs_is_told_and_the_end_does_not_wait_for_it() -> None:
    file = File()
    async with keeping(file) as saving:
        file.disk.go.clear()
        file.commit(1, WEB_ISOLATED)
        await file.clock.advance(59)
        assert saving.trouble is None
        await file.clock.advance(1)
        assert saving.trouble is not None
        assert "has not taken it for 60 s" in saving.trouble
        ending = asyncio.create_task(saving.finish(file.in_force))
        await file.clock.advance(3)
        async with asyncio.timeout(10):
            await ending


async def test_a_disk_that_hangs_as_a_node_starts_keeps_it_from_its_operator_for_no_longer_than_stated() -> (
    None
):
    file = File()
    file.disk.go.clear()
    saving = file.saving()
    reading = asyncio.create_task(saving.read())
    await file.clock.advance(9)
    assert not reading.done()
    await file.clock.advance(1)
    assert await reading is None
    assert saving.refused
    assert file.counted('saved_refused_total{reason="unreadable"}') == 1
    file.disk.go.set()
    saving.close()


FIT = encode_saved(SnapshotMessage(1, Stands(1, 1, 1), WEB_ISOLATED))


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (FIT[:-1], Flaw.TRUNCATED),
        (FIT[:-1] + bytes([FIT[-1] ^ 1]), Flaw.CHECKSUM),
        (bytes(len(FIT)), Flaw.CONTENT),
        (b"", Flaw.TRUNCATED),
        (
            encode_saved(SnapshotMessage(1, Stands(1, 1, 1), RuleSet("another-node"))),
            Flaw.NODE,
        ),
        (FIT + bytes(MOST_BYTES), Flaw.TOO_LARGE),
    ],
    ids=lambda value: value.value if isinstance(value, Flaw) else "",
)
async def test_a_file_that_is_not_fit_counts_as_not_there_is_told_and_is_replaced(
    content: bytes, flaw: Flaw, caplog: pytest.LogCaptureFixture
) -> None:
    file = File()
    file.put(content)
    saving = file.saving()
    assert await saving.read() is None
    assert saving.refused
    assert "the saved rule set in a disk of the tests is not used: it " in caplog.text
    assert file.counted(f'saved_refused_total{{reason="{flaw.value}"}}') == 1
    await saving.save(generation(1, WEB_ISOLATED))
    assert await file.held() == generation(1, WEB_ISOLATED)
    saving.close()
