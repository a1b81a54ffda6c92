"""What is a leak, what a refusal, and what nobody can call either."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.testing.chaos.judge import (
    LAG_SECONDS,
    Asked,
    Expected,
    Judge,
    Moment,
    Probed,
    Scope,
    Seen,
    Stretch,
    Tally,
    Window,
)

ALLOWED, DENIED, EITHER = Expected
QUESTION = Asked(0, "node-a", "node-b")
WITHIN_A = Asked(0, "node-a", "node-a")


def judged(
    states: Sequence[tuple[float, float, Expected]],
    probe: Probed,
    stretches: Sequence[Stretch] = (),
    windows: Sequence[Window] = (),
) -> Tally:
    said = [expected for _, _, expected in states]
    moments = [Moment(begun, known) for begun, known, _ in states]
    return Judge(moments, stretches, windows, lambda _: said).tally([probe])


def called(tally: Tally) -> str:
    words = [
        word
        for word, count in (
            ("leak", tally.leaks),
            ("refusal", tally.refusals),
            ("window", tally.inside_windows),
        )
        if count
    ]
    return " ".join(words) or "right"


CLOSES = ((0.0, 0.1, ALLOWED), (10.0, 10.2, DENIED))
OPENS = ((0.0, 0.1, DENIED), (10.0, 10.2, ALLOWED))
BLINKS = ((0.0, 0.1, ALLOWED), (10.0, 10.2, DENIED), (10.4, 10.5, ALLOWED))
COMES = ((0.0, 0.1, EITHER), (10.0, 10.2, DENIED))


@pytest.mark.parametrize(
    ("states", "sent", "ended", "seen", "verdict"),
    [
        pytest.param(CLOSES, 9.0, 9.1, Seen.ANSWERED, "right", id="allowed and answered"),
        pytest.param(CLOSES, 9.0, 9.3, Seen.NOTHING, "refusal", id="allowed and lost"),
        pytest.param(CLOSES, 9.0, 9.3, Seen.DELIVERED, "refusal", id="allowed and the answer lost"),
        pytest.param(CLOSES, 9.9, 10.1, Seen.NOTHING, "window", id="ends while it is written"),
        pytest.param(CLOSES, 11.1, 11.15, Seen.ANSWERED, "window", id="closes late, within a second"),
        pytest.param(CLOSES, 11.3, 11.35, Seen.ANSWERED, "leak", id="closes later than a second"),
        pytest.param(CLOSES, 11.3, 11.35, Seen.DELIVERED, "leak", id="got through, though no answer came"),
        pytest.param(CLOSES, 11.3, 11.6, Seen.NOTHING, "right", id="closed"),
        pytest.param(OPENS, 9.0, 9.1, Seen.ANSWERED, "leak", id="open before anybody said so"),
        pytest.param(OPENS, 11.1, 11.4, Seen.NOTHING, "window", id="opens late, within a second"),
        pytest.param(OPENS, 11.3, 11.6, Seen.NOTHING, "refusal", id="opens later than a second"),
        pytest.param(BLINKS, 11.4, 11.7, Seen.NOTHING, "window", id="closed for less than a second"),
        pytest.param(BLINKS, 11.6, 11.9, Seen.NOTHING, "refusal", id="should long be open again"),
        pytest.param(COMES, 9.0, 9.1, Seen.ANSWERED, "window", id="nobody knows it yet"),
        pytest.param(COMES, 11.1, 11.15, Seen.ANSWERED, "window", id="is known for less than a second"),
        pytest.param(COMES, 11.3, 11.35, Seen.ANSWERED, "leak", id="is known"),
    ],
)
def test_a_probe_is_judged_by_the_states_that_are_acceptable(
    states: Sequence[tuple[float, float, Expected]], sent: float, ended: float, seen: Seen, verdict: str
) -> None:
    assert called(judged(states, Probed(QUESTION, sent, ended, seen))) == verdict


@pytest.mark.parametrize(
    ("stretch", "sent", "verdict"),
    [
        pytest.param(Stretch(9, 20), 20.9, "window", id="news was held up when it was written"),
        pytest.param(Stretch(9, 20), 21.1, "leak", id="all has worked for a second"),
        pytest.param(Stretch(10.9, 20), 20.9, "window", id="held up within the second"),
        pytest.param(Stretch(11.3, 20), 19.0, "leak", id="held up afterwards"),
        pytest.param(Stretch(1, 9.9), 11.3, "leak", id="held up before"),
    ],
)
def test_what_is_held_up_is_in_force_a_second_after_all_works_again(
    stretch: Stretch, sent: float, verdict: str
) -> None:
    probe = Probed(QUESTION, sent, sent + 0.01, Seen.ANSWERED)

    assert called(judged(CLOSES, probe, stretches=[stretch])) == verdict


def test_a_storm_does_not_excuse_what_did_not_change() -> None:
    probe = Probed(QUESTION, 15, 15.01, Seen.ANSWERED)

    assert called(judged([(0, 0, DENIED)], probe, stretches=[Stretch(9, 20)])) == "leak"


@pytest.mark.parametrize(
    ("asked", "scope", "node", "verdict"),
    [
        (QUESTION, Scope.TOUCHING, "node-a", "window"),
        (QUESTION, Scope.TOUCHING, "node-b", "window"),
        (QUESTION, Scope.TOUCHING, "node-c", "leak"),
        (QUESTION, Scope.WITHIN, "node-a", "leak"),
        (WITHIN_A, Scope.WITHIN, "node-a", "window"),
    ],
)
def test_a_window_is_open_for_pairs_of_its_node(asked: Asked, scope: Scope, node: str, verdict: str) -> None:
    tally = judged(
        [(0, 0, DENIED)],
        Probed(asked, 5.1, 5.2, Seen.ANSWERED),
        windows=[Window(5, 6, node, scope, "a rule inserted"), Window(1, 2, "node-a", scope, "another")],
    )

    assert called(tally) == verdict
    assert dict(tally.reasons) == ({"a rule inserted": 1} if verdict == "window" else {})


@pytest.mark.parametrize(
    ("sent", "ended", "verdict"), [(4.5, 4.9, "leak"), (4.8, 5.0, "window"), (6.01, 6.1, "leak")]
)
def test_a_window_is_open_for_what_was_under_way_in_it(sent: float, ended: float, verdict: str) -> None:
    window = Window(5, 6, "node-a", Scope.TOUCHING, "a rule inserted")
    probe = Probed(QUESTION, sent, ended, Seen.ANSWERED)

    assert called(judged([(0, 0, DENIED)], probe, windows=[window])) == verdict


TIMES = st.floats(0, 100, allow_nan=False)
VERDICTS = st.sampled_from(Expected)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, float, Expected]]:
    times = sorted(draw(st.lists(TIMES, min_size=2, max_size=12, unique=True)))
    pairs = [(times[at], times[at + 1]) for at in range(0, len(times) - 1, 2)]
    return [(begun, known, draw(VERDICTS)) for begun, known in pairs]


@st.composite
def probes(draw: st.DrawFn) -> Probed:
    sent = draw(TIMES)
    return Probed(QUESTION, sent, sent + draw(st.floats(0, 0.5)), draw(st.sampled_from(Seen)))


@given(histories(), probes())
def test_every_probe_is_counted_once(states: list[tuple[float, float, Expected]], probe: Probed) -> None:
    tally = judged(states, probe)

    assert tally.probes == tally.allowed + tally.denied + tally.inside_windows == 1


@given(histories(), probes(), st.tuples(TIMES, TIMES))
def test_to_excuse_more_never_accuses_more(
    states: list[tuple[float, float, Expected]], probe: Probed, times: tuple[float, float]
) -> None:
    begin, end = sorted(times)
    without = judged(states, probe)
    stormy = judged(states, probe, stretches=[Stretch(begin, end)])
    opened = judged(states, probe, windows=[Window(begin, end, "node-a", Scope.TOUCHING, "why")])

    for excused in (stormy, opened):
        assert excused.leaks <= without.leaks
        assert excused.refusals <= without.refusals


@given(histories(), st.sampled_from(Seen))
def test_between_changes_there_is_no_excuse(states: list[tuple[float, float, Expected]], seen: Seen) -> None:
    for (_, known, expected), (begun, _, _) in pairwise([*states, (1000.0, 1000.0, EITHER)]):
        sent = known + LAG_SECONDS + 0.001
        if sent + 0.1 >= begun or expected is EITHER:
            continue
        tally = judged(states, Probed(QUESTION, sent, sent + 0.1, seen))
        assert tally.inside_windows == 0
        assert tally.leaks == (expected is DENIED and seen is not Seen.NOTHING)
        assert tally.refusals == (expected is ALLOWED and seen is not Seen.ANSWERED)
