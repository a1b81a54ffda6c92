"""What the tests here share: the base as it ships, where the examples are, and three ways to ask for one verdict."""

import itertools
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import nft_templates
from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.tests.stage import PODS, cluster, decide, pod
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy
from compilers.nftables.base import BaseSettings, base_tables
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.walk import ClusterWalk
from policy_controller.testing.laboratory import inside

BASE: Final = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
)
EXAMPLES: Final = Path(__file__).parents[4] / "examples"

PORTS: Final = (53, 68, 79, 80, 81, 443, 8080, 8443, 9100, 10250, 65535)
STRANGERS: Final = (
    *(
        "10.0.0.1",
        "10.0.255.255",
        "10.1.0.0",
        "10.1.255.255",
        "10.1.2.3",
        "10.1.3.3",
        "10.2.0.0",
        "10.64.0.1",
    ),
    *("10.200.0.1", "11.0.0.0", "172.31.1.12", "2001:db8:1::5", "2001:db8:2::5", "2001:db8::1"),
)
"""Hosts beyond the nodes, at the edges of blocks."""
NEAR, FAR = range(24), range(24, 36)
"""Numbers of the subjects on node-a and of those on node-b."""
SUBJECTS: Final = tuple(
    pod(
        f"shop/subject-{number}",
        {"subject": str(number)},
        "node-a" if number in NEAR else "node-b",
        100 + number,
    )
    for number in (*NEAR, *FAR)
)
"""Pods to try one policy each on, so that many policies are tried at once."""

WAYS: Final = "ways around a gate tried, none of them open"
Record = Callable[[str, object], None]
Row = tuple[str, str, str, str]
"""Source, destination, service and verdict, as compilers.evaluate.tests.stage writes them."""


def everybody(*policies: NetworkPolicy, pods: Iterable[Pod] = PODS) -> Cluster:
    """The evaluator's stage and the subjects, with these policies."""
    return cluster(*policies, pods=(*pods, *SUBJECTS))


def subject(number: int) -> str:
    """The path of a subject."""
    return f"shop/subject-{number}"


def command(namespace: str, *words: str, text: str = "") -> str:
    """The output of a program run in a namespace with `text` as its input. Fails the test when it fails."""
    with inside(namespace):
        done = subprocess.run(words, input=text, text=True, capture_output=True, check=False)  # noqa: S603 - fixed programs
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def on(stage: Stage, what: str) -> str:
    """The name under which something is counted on the stage's pod network."""
    return f"{what} ({stage.network.value})"


async def wrong_by_row(
    stage: Stage, state: Cluster, expected: Iterable[tuple[Traffic, Verdict]]
) -> list[list[str]]:
    """For each row one line for each way (evaluator, walk, packets) that does not give the expected verdict.

    The stage must hold what is compiled from the cluster.
    """
    rows = list(expected)
    walk = ClusterWalk(state, BASE)
    wrong = []
    for seen, (traffic, verdict) in zip(await stage.ask(traffic for traffic, _ in rows), rows, strict=True):
        ways = {
            "evaluator": judge(state, traffic).verdict,
            "walk": walk.verdict(traffic),
            "packets": seen.verdict,
        }
        wrong.append(
            [
                f"{traffic}: {way}: {found and found.value}, not {verdict.value} ({seen.result.outcome.value})"
                for way, found in ways.items()
                if found is not verdict
            ]
        )
    return wrong


async def wrong_verdicts(
    stage: Stage, state: Cluster, expected: Iterable[tuple[Traffic, Verdict]]
) -> list[str]:
    """The lines of all rows."""
    return list(itertools.chain.from_iterable(await wrong_by_row(stage, state, expected)))


async def assert_rows(stage: Stage, state: Cluster, rows: Iterable[Row]) -> int:
    """Enforce the cluster and try every row in each family that both ends have; how many packets were tried.

    What no probe can carry (port 0) is left to evaluator and walk.
    """
    expected = [
        (decision.traffic, Verdict(verdict))
        for source, destination, service, verdict in rows
        for decision in decide(state, source, destination, service)
        if stage.can_carry(decision.traffic)
    ]
    assert expected, "no packet was tried"
    await stage.enforce(state)
    wrong = await wrong_verdicts(stage, state, expected)
    assert not wrong, "\n".join(wrong)
    return len(expected)
