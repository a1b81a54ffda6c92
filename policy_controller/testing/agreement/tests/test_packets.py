"""Evaluator and real packets agree on generated clusters: real TCP, UDP, SCTP and ICMP, IPv4 and IPv6."""

from random import Random

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.places import Place, outside
from policy_controller.testing.agreement.tests.scene import BASE, Record, on
from policy_controller.testing.examples import NODES
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import random_cluster, seeded, traffic_of
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.laboratory.addresses import OUTSIDE4, OUTSIDE6, pod_networks

CLUSTERS = {NetworkKind.BRIDGE: (200, 500), NetworkKind.VXLAN: (40, 500), NetworkKind.ROUTED: (40, 500)}
"""How many are tried in each extent, short and whole."""
SHARES = 4
"""The clusters are tried in this many tests, so that workers share them."""
CONNECTIONS = 120
"""Connections tried in each cluster, as many denied as allowed where there are that many."""
PORTS = (1, 2, 52, 53, 54, 79, 80, 81, 442, 443, 444, 8079, 8080, 8081, 8082, 65534, 65535)
OUTSIDE = (9, 63, 64, 70, 127, 128, 200)
HOSTS = range(11, 21)


def places() -> tuple[Place, ...]:
    """Every address that a generated cluster may give a pod, and some of the blocks' outside."""
    pods = tuple(
        Place(f"{node}-{host}", node, tuple(network[host] for network in pod_networks(index)))
        for index, node in enumerate(NODES, start=1)
        for host in HOSTS
    )
    return (*pods, outside(network[host] for network in (OUTSIDE4, OUTSIDE6) for host in OUTSIDE))


def chosen(cluster: Cluster, stage: Stage, rng: Random) -> list[tuple[Traffic, Verdict]]:
    """Connections of both verdicts, by chance."""
    found: dict[Verdict, list[Traffic]] = {verdict: [] for verdict in Verdict}
    for traffic in traffic_of(cluster, rng):
        if stage.can_carry(traffic):
            found[judge(cluster, traffic).verdict].append(traffic)
    half = CONNECTIONS // 2
    return [
        (traffic, verdict)
        for verdict, traffics in found.items()
        for traffic in rng.sample(traffics, min(half, len(traffics)))
    ]


@pytest.mark.packets
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("share", range(SHARES), ids=lambda number: f"share {number}")
async def test_evaluator_and_packets_agree_on_generated_clusters(
    network: NetworkKind, share: int, extent: Extent, record_property: Record
) -> None:
    seeds = range(share, extent.choose(*CLUSTERS[network]), SHARES)
    probes = dict.fromkeys(Verdict, 0)
    async with Stage(BASE, NODES, places(), PORTS, network) as stage:
        for seed in seeds:
            rng = seeded(seed)
            cluster = random_cluster(rng)
            await stage.enforce(cluster)
            expected = chosen(cluster, stage, rng)
            for seen, (traffic, verdict) in zip(
                await stage.ask(traffic for traffic, _ in expected), expected, strict=True
            ):
                assert seen.verdict is verdict, (
                    f"seed {seed}: {traffic}: {seen.result}\n{judge(cluster, traffic)}"
                )
                probes[verdict] += 1
    record_property(on(stage, "clusters, evaluator == packets"), len(seeds))
    record_property(on(stage, "probes allowed, evaluator == packets"), probes[Verdict.ALLOWED])
    record_property(on(stage, "probes denied, evaluator == packets"), probes[Verdict.DENIED])
