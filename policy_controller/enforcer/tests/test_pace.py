"""Whoever gives reason to look is looked at at once; whoever does so without end, at a bounded pace, for ever."""

from policy_controller.enforcer.pace import AT_ONCE, CALM_SECONDS, FIGHT, LONGEST_SECONDS, LOOKS, Pace

START = 1000.0


def looks(pace: Pace, count: int, seconds: float, begin: float = START) -> list[float]:
    """How long there was to wait after each of so many looks, each begun as soon as it might."""
    waits = []
    for _ in range(count):
        begin = max(begin, pace.due)
        end = begin + seconds
        pace.looked(begin, end, amiss=True)
        waits.append(pace.due - end)
        begin = end
    return waits


def test_the_first_looks_wait_for_nothing_and_later_ones_ever_longer_up_to_a_bound() -> None:
    waits = looks(Pace(), 1000, 0.0)
    first, later = waits[: AT_ONCE - 1], waits[AT_ONCE - 1 :]
    assert set(first) == {0.0}
    assert all(0 < wait <= LONGEST_SECONDS for wait in later)
    assert waits == sorted(waits)
    assert max(waits) < 1.0


def test_looks_that_take_long_leave_the_processor_to_others() -> None:
    waits = looks(Pace(), 100, 2.0)
    assert all(abs(wait - LOOKS * 2.0) < 1e-6 for wait in waits[AT_ONCE - 1 :])


def test_after_calm_the_next_look_is_a_first_one() -> None:
    pace = Pace()
    looks(pace, 100, 0.0)
    after = pace.due + CALM_SECONDS
    assert pace.fights(pace.due) == 100
    assert pace.fights(after + 1) == 0
    assert looks(pace, 1, 0.0, after + 1) == [0.0]
    assert pace.fights(after + 1) == 0


def test_it_is_a_fight_only_when_something_was_amiss_each_time() -> None:
    pace = Pace()
    for number in range(100):
        pace.looked(START + number, START + number, amiss=number < FIGHT - 1)
    assert pace.fights(START + 100) == 0
    pace.looked(START + 101, START + 101, amiss=True)
    assert pace.fights(START + 101) == FIGHT
