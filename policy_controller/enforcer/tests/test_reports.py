"""What the operator is to be told waits for a stream, bounded, and is told at a bounded rate."""

import asyncio

from compilers.nftables.words import TableFamily
from policy_controller.enforcer.reports import MOST_PROCESSES, OTHERS, PAUSE_SECONDS, Reports
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.messages import MOST_TIMES, Tampered

INET, BRIDGE = TableFamily.INET, TableFamily.BRIDGE


def report(process: str, *tables: TableFamily, at: int = 0, times: int = 1) -> Tampered:
    return Tampered(process, 7, tables, times, at)


async def test_what_is_said_of_one_process_meanwhile_becomes_one() -> None:
    reports = Reports(FakeClock())
    reports.add(report("nft", BRIDGE, at=1))
    reports.add(report("nft", INET, at=2))
    reports.add(report("iptables", INET))
    assert await reports.next() == Tampered("nft", 7, (INET, BRIDGE), 2, 2)


async def test_the_first_is_told_at_once_and_the_next_after_a_pause() -> None:
    clock = FakeClock()
    reports = Reports(clock)
    waiting = asyncio.create_task(reports.next())
    await clock.advance(100)
    reports.add(report("nft", INET))
    assert (await waiting).process == "nft"
    reports.add(report("nft", INET))
    waiting = asyncio.create_task(reports.next())
    await clock.advance(PAUSE_SECONDS - 1)
    assert not waiting.done()
    await clock.advance(1)
    assert waiting.done()


async def test_ever_other_names_take_no_more_room() -> None:
    clock = FakeClock()
    reports = Reports(clock)
    for number in range(1000):
        reports.add(report(f"p{number}", INET))
    assert (await reports.next()).times == 1
    waiting = [asyncio.create_task(reports.next()) for _ in range(MOST_PROCESSES)]
    await clock.advance(PAUSE_SECONDS * (MOST_PROCESSES + 1))
    others = [one.result() for one in waiting if one.result().process == OTHERS]
    assert [one.times for one in others] == [1000 - MOST_PROCESSES]


def test_counts_stay_within_what_the_wire_holds() -> None:
    many = report("nft", INET, times=MOST_TIMES)
    assert many.after(many).times == MOST_TIMES
