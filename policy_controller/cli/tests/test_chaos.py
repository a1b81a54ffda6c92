"""policyctl chaos: its plan, its document and its exit code. What it sees is tested beside testing/chaos."""

import json

import pytest
from click.testing import CliRunner

from compilers.model.cluster import Cluster
from policy_controller.cli.chaos_command import as_tree
from policy_controller.cli.main import main
from policy_controller.testing.chaos.chaos import Oracle, Order, Report
from policy_controller.testing.chaos.journal import Journal
from policy_controller.testing.chaos.judge import Tally
from policy_controller.testing.chaos.plan import Kind
from policy_controller.testing.laboratory import NetworkKind

WORDS = ("chaos", "--minutes", "2", "--seed", "7", "--plan")


def test_the_plan_of_a_seed_is_the_same_bytes_every_time() -> None:
    first, second = (CliRunner().invoke(main, WORDS) for _ in range(2))

    assert first.exit_code == 0
    assert first.stdout_bytes == second.stdout_bytes
    found = json.loads(first.stdout)
    assert (found["schema"], found["seed"], found["seconds"]) == ("chaos-plan/v1", 7, 120)


@pytest.mark.parametrize(
    "wrong", [("--minutes", "0"), ("--nodes", "1"), ("--network", "mesh"), ("--seed", "-1")]
)
def test_what_makes_no_sense_is_refused(wrong: tuple[str, str]) -> None:
    assert CliRunner().invoke(main, ["chaos", "--plan", *wrong]).exit_code == 2


def report(tally: Tally, trouble: str = "", oracle: Oracle = Oracle.SAME) -> Report:
    async def nothing() -> Cluster:
        return Cluster()

    journal = Journal(nothing)
    journal.done.update({Kind.TABLE_DELETED.value: 2, Kind.POD_LABELLED.value: 3})
    journal.repairs += [0.1, 0.2, 0.6]
    order = Order(7, 120, NetworkKind.VXLAN, ("node-a", "node-b"))
    return Report(order, tally, journal, 121.04, oracle, trouble, ("leak at 1 s",))


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (report(Tally(probes=100, allowed=50, denied=45, inside_windows=5)), True),
        (report(Tally(probes=100, allowed=50, denied=44, inside_windows=6)), False),
        (report(Tally(probes=100, allowed=50, denied=50, leaks=1)), False),
        (report(Tally(probes=100, allowed=50, denied=50, refusals=1)), False),
        (report(Tally(probes=100, allowed=50, denied=50), trouble="node-a does not recover"), False),
        (report(Tally(probes=100, allowed=50, denied=50), oracle=Oracle.OTHER), False),
    ],
)
def test_chaos_is_well_only_when_all_of_it_is(found: Report, holds: bool) -> None:
    assert found.holds is holds


def test_the_document_has_every_count() -> None:
    tree = as_tree(report(Tally(probes=100, allowed=50, denied=45, inside_windows=5, leaks=1)))

    assert tree["schema"] == "chaos/v1"
    assert (tree["seed"], tree["network"], tree["nodes"], tree["seconds"]) == (7, "vxlan", 2, 121.0)
    assert (tree["probes"], tree["faults"], tree["leaks"], tree["refusals"], tree["inside_windows"]) == (
        100,
        2,
        1,
        0,
        5,
    )
    assert tree["faults_by_kind"] == {"our table deleted": 2}
    assert tree["changes_by_kind"] == {"pod labels changed": 3}
    assert tree["repair_seconds"] == {"count": 3, "median": 0.2, "most": 0.6}
    assert tree["told"] == ("leak at 1 s",)
    json.dumps(tree)
