"""When packets of unknown addresses are dropped."""

import pytest

from compilers.model.words import Direction
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.gates import (
    BOTH,
    NEITHER,
    NOBODY,
    Knowledge,
    UnknownGates,
    UnknownPods,
    Waiting,
)
from policy_controller.enforcer.newcomers import NO_NEWCOMERS, Newcomers
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    OUT,
    SWITCHED_OFF,
    WEB,
    WEB_ISOLATED,
    WEB_WAITING,
    pod,
    rule_set,
)

DROP = UnknownGates(UnknownPods.DROP, wait_seconds=30)
ALLOW = UnknownGates(UnknownPods.ALLOW, wait_seconds=30)
INGRESS = frozenset({Direction.INGRESS})
BOTH_WAITING = rule_set([pod("web", "", WEB, OUT)], [WEB, OUT])
WAITING_OPEN = rule_set([pod("web")])
SINCE_100 = Waiting({"uid-web": 100.0})


@pytest.mark.parametrize(
    ("gates", "knowledge", "held", "waiting", "now", "closed"),
    [
        (DROP, Knowledge.NOTHING, None, NOBODY, 0, NEITHER),
        (DROP, Knowledge.STALE, None, NOBODY, 0, BOTH),
        (ALLOW, Knowledge.STALE, None, NOBODY, 0, NEITHER),
        (DROP, Knowledge.STALE, NOBODY_ISOLATED, NOBODY, 0, BOTH),
        (ALLOW, Knowledge.STALE, WEB_ISOLATED, NOBODY, 0, NEITHER),
        (DROP, Knowledge.CURRENT, NOBODY_ISOLATED, NOBODY, 0, NEITHER),
        (DROP, Knowledge.CURRENT, WEB_ISOLATED, NOBODY, 0, NEITHER),
        (DROP, Knowledge.CURRENT, WAITING_OPEN, SINCE_100, 100, NEITHER),
        (DROP, Knowledge.CURRENT, WEB_WAITING, SINCE_100, 100, INGRESS),
        (DROP, Knowledge.CURRENT, WEB_WAITING, SINCE_100, 129.9, INGRESS),
        (DROP, Knowledge.CURRENT, WEB_WAITING, SINCE_100, 130, NEITHER),
        (DROP, Knowledge.CURRENT, BOTH_WAITING, SINCE_100, 101, BOTH),
        # Nobody has noted the pod yet: it is as new as can be.
        (DROP, Knowledge.CURRENT, WEB_WAITING, NOBODY, 500, INGRESS),
        (ALLOW, Knowledge.CURRENT, WEB_WAITING, SINCE_100, 100, INGRESS),
        (ALLOW, Knowledge.STALE, WEB_WAITING, SINCE_100, 100, INGRESS),
        (DROP, Knowledge.STALE, WEB_WAITING, SINCE_100, 999, BOTH),
        (DROP, Knowledge.STALE, SWITCHED_OFF, NOBODY, 0, NEITHER),
        (DROP, Knowledge.CURRENT, SWITCHED_OFF, SINCE_100, 100, NEITHER),
    ],
)
def test_unknown_addresses_are_dropped_as_knowledge_waiting_pods_and_the_setting_say(
    gates: UnknownGates,
    knowledge: Knowledge,
    held: RuleSet | None,
    waiting: Waiting,
    now: float,
    closed: frozenset[Direction],
) -> None:
    assert gates.closed(knowledge, held, waiting, NO_NEWCOMERS, now) == closed


def test_a_pod_waits_from_when_it_was_first_seen_without_an_address() -> None:
    first = NOBODY.after(WEB_WAITING, 10)
    assert first == Waiting({"uid-web": 10})
    assert first.after(WEB_WAITING, 25) == first
    assert first.after(WEB_ISOLATED, 26) == NOBODY
    assert first.after(WEB_ISOLATED, 26).after(WEB_WAITING, 40) == Waiting({"uid-web": 40})


def test_the_next_opening_is_that_of_the_pod_that_has_waited_longest_and_not_too_long() -> None:
    waiting = Waiting({"a": 0.0, "b": 10.0, "c": 20.0})
    assert DROP.next_opening(waiting, NO_NEWCOMERS, 20) == 10
    assert DROP.next_opening(waiting, NO_NEWCOMERS, 30) == 10
    assert DROP.next_opening(waiting, NO_NEWCOMERS, 45) == 5
    assert DROP.next_opening(waiting, NO_NEWCOMERS, 50) is None
    assert DROP.overdue(waiting, 45) == ("a", "b")


@pytest.mark.parametrize(
    ("held", "waiting", "newcomers", "knowledge", "closed"),
    [
        pytest.param(WEB_ISOLATED, NOBODY, {7: 100.0}, Knowledge.CURRENT, INGRESS, id="as pods of the node"),
        pytest.param(
            NOBODY_ISOLATED, NOBODY, {7: 100.0}, Knowledge.CURRENT, NEITHER, id="nobody is isolated"
        ),
        pytest.param(WEB_ISOLATED, SINCE_100, {7: 100.0}, Knowledge.CURRENT, NEITHER, id="it was told of"),
        pytest.param(
            WEB_ISOLATED, SINCE_100, {7: 100.0, 8: 101.0}, Knowledge.CURRENT, INGRESS, id="one of two was"
        ),
        pytest.param(
            WEB_ISOLATED,
            Waiting({"old": 0.0}),
            {7: 100.0},
            Knowledge.CURRENT,
            INGRESS,
            id="one waits too long",
        ),
        pytest.param(WEB_ISOLATED, NOBODY, {7: 60.0}, Knowledge.CURRENT, NEITHER, id="it came long ago"),
        pytest.param(WEB_ISOLATED, NOBODY, {7: 100.0}, Knowledge.STALE, NEITHER, id="the setting decides"),
    ],
)
def test_pods_that_run_before_anybody_told_of_them_close_where_the_node_isolates(
    held: RuleSet,
    waiting: Waiting,
    newcomers: dict[int, float],
    knowledge: Knowledge,
    closed: frozenset[Direction],
) -> None:
    came = Newcomers(newcomers, frozenset())
    assert ALLOW.closed(knowledge, held, waiting, came, 101.0) == closed
    assert ALLOW.next_opening(NOBODY, came, 101.0) == (29.0 if newcomers[7] == 100.0 else None)
