"""Attentive time: what counts, and that being late makes no timeout."""

import asyncio
import time

import pytest

from policy_controller.testing.probe.attention import BEAT, Attention, AttentiveClock


@pytest.mark.parametrize(
    ("beats", "counted"),
    [
        pytest.param([0.0], 0.0, id="the first look counts nothing"),
        pytest.param([5.0, 5.01, 5.02], 0.02, id="on time"),
        pytest.param([0.0, 0.5, 0.51], 0.03, id="half a second away counts as two beats"),
        pytest.param([0.0, 0.015], 0.015, id="a little late"),
    ],
)
def test_time_away_does_not_count(beats: list[float], counted: float) -> None:
    attention = Attention()
    for beat in beats:
        attention.observe(beat)

    assert attention.seconds == pytest.approx(counted)


def test_time_nobody_watches_does_not_count() -> None:
    attention = Attention()
    attention.observe(1.0)
    attention.look_away()
    attention.observe(1.01)

    assert attention.seconds == 0.0


async def test_an_answer_that_comes_while_the_loop_is_stuck_is_no_timeout() -> None:
    clock = AttentiveClock()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    waiting = asyncio.ensure_future(clock.answered(answer, 0.1))
    await asyncio.sleep(0)

    time.sleep(0.3)  # noqa: ASYNC251 - the fault itself: the loop does not turn
    loop.call_later(3 * BEAT, answer.set_result, "late by the wall clock, in time by ours")

    assert await waiting is True


async def test_silence_ends_after_about_the_time_asked_for() -> None:
    clock = AttentiveClock()
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    started = time.monotonic()

    assert await clock.answered(never, 0.1) is False
    assert time.monotonic() - started >= 0.1
    assert not never.done()
