"""What the tests here share: the base as it ships, where the examples are, and three ways to ask for one verdict."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import nft_templates
from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster
from compilers.nftables.base import BaseSettings, base_tables
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.walk import ClusterWalk

BASE: Final = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
)
EXAMPLES: Final = Path(__file__).parents[4] / "examples"

Record = Callable[[str, object], None]


async def wrong_verdicts(
    stage: Stage, cluster: Cluster, expected: Iterable[tuple[Traffic, Verdict]]
) -> list[str]:
    """One line for each way (evaluator, walk, packets) that does not give the expected verdict.

    The stage must hold what is compiled from the cluster.
    """
    rows = list(expected)
    walk = ClusterWalk(cluster, BASE)
    wrong = []
    for seen, (traffic, verdict) in zip(await stage.ask(traffic for traffic, _ in rows), rows, strict=True):
        ways = {
            "evaluator": judge(cluster, traffic).verdict,
            "walk": walk.verdict(traffic),
            "packets": seen.verdict,
        }
        wrong += [
            f"{traffic}: {way} say {found and found.value}, not {verdict.value} ({seen.result.outcome.value})"
            for way, found in ways.items()
            if found is not verdict
        ]
    return wrong
