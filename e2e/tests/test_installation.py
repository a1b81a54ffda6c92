"""An installation from manifests/ on the cluster that `--cluster` names: ready, enforcing, restarted under probing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from compilers.evaluate.decision import Verdict
from compilers.model.words import family_of
from e2e.agents import Agent, Agents
from e2e.asking import confirmed, question_of, wrong
from e2e.cluster import LABORATORY, Cluster
from e2e.examples import EXAMPLES, NoCounterpartError, Row, Site, staged
from e2e.install import ENFORCER, NAMESPACE, OPERATOR, Installation
from e2e.state import stored
from e2e.tests import town
from policy_controller.testing.examples import examples_in
from policy_controller.testing.extent import Extent
from policy_controller.testing.probe import Expected
from policy_controller.testing.probe.agent import Watched

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

Record = Callable[[str, object], None]

PATHS: Final = {path.name: path for path in examples_in(EXAMPLES)}
USUAL: Final = ("and-versus-or", "host-network-monitoring")
"""Examples that every run tries: the first rests on labels alone, the second on nodes and their addresses."""

EXPECTED: Final = {Verdict.ALLOWED: Expected.ALLOWED, Verdict.DENIED: Expected.DENIED}
PAIRS_WATCHED: Final = 24

Replacement = tuple[Callable[[Installation, str], Awaitable[None]], str]
USUAL_REPLACEMENTS: Final[tuple[Replacement, ...]] = (
    (Installation.restart, ENFORCER),
    (Installation.kill, OPERATOR),
)
REPLACEMENTS: Final[tuple[Replacement, ...]] = (
    *USUAL_REPLACEMENTS,
    (Installation.restart, OPERATOR),
    (Installation.kill, ENFORCER),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A real cluster is there for all of it; `make test` tries some in the laboratory, `make test-all` all."""
    option = metafunc.config.getoption
    is_short = option("--cluster") == LABORATORY and Extent(option("--extent")) is Extent.SHORT
    if "replacements" in metafunc.fixturenames:
        chosen = USUAL_REPLACEMENTS if is_short else REPLACEMENTS
        metafunc.parametrize("replacements", [chosen], ids=[f"{len(chosen)}-times"])
    for name, usual, every in (("policy", town.USUAL, town.POLICIES), ("example", USUAL, PATHS)):
        if name in metafunc.fixturenames:
            names = [one for one in every if one in usual or not is_short]
            metafunc.parametrize(name, [every[one] for one in names], ids=names)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pods(cluster: Cluster, installation: Installation, site: Site) -> AsyncIterator[dict[str, Agent]]:
    async with Agents(cluster, town.NAMESPACES, town.pods(site)) as agents:
        yield agents.by_key


@pytest.mark.usefixtures("installation")
async def test_all_is_ready_as_the_manifests_say(cluster: Cluster) -> None:
    ours = [pod for pod in await cluster.kubectl.all("pods") if pod["metadata"]["namespace"] == NAMESPACE]

    nodes = await cluster.kubectl.all("nodes")
    enforcers = {pod["spec"]["nodeName"] for pod in ours if pod["spec"].get("hostNetwork")}
    assert enforcers == {node["metadata"]["name"] for node in nodes}
    assert len(ours) == len(nodes) + 1


async def test_packets_meet_what_the_evaluator_says_of_a_policy(
    cluster: Cluster, pods: dict[str, Agent], policy: town.Json, record_property: Record
) -> None:
    await cluster.kubectl.apply([policy])
    try:
        rows = list(town.rows(await stored(cluster.kubectl), pods))

        record_property("rows of the truth table on a cluster", await confirmed(rows, pods))
    finally:
        await cluster.kubectl.delete([policy])


@pytest.mark.usefixtures("installation")
async def test_every_row_of_an_example_holds_on_the_cluster(
    cluster: Cluster, site: Site, on_nodes: dict[str, Agent], example: Path, record_property: Record
) -> None:
    try:
        here = staged(example, site)
    except NoCounterpartError as reason:
        pytest.skip(str(reason))
    async with Agents(cluster, here.namespaces, here.pods) as agents:
        await cluster.kubectl.apply(here.policies)

        held = await confirmed(here.rows, on_nodes | agents.by_key)

    record_property("rows of examples on a cluster", held)
    record_property("rows of examples left out on a cluster: an end outside", here.left_out)


async def test_nothing_leaks_and_nothing_is_refused_while_all_is_replaced(
    cluster: Cluster,
    installation: Installation,
    pods: dict[str, Agent],
    replacements: tuple[Replacement, ...],
    record_property: Record,
) -> None:
    policy = town.POLICIES["namespace-or-pod"]
    await cluster.kubectl.apply([policy])
    try:
        state = await stored(cluster.kubectl)
        await confirmed(list(town.rows(state, pods)), pods)
        chosen = watched_rows(list(town.rows(state, pods, town.WATCHED)))
        assert {row.verdict for row in chosen} == set(Verdict)
        await asyncio.gather(*(watch(agent, chosen, pods) for agent in pods.values()))
        try:
            for replace, workload in replacements:
                before = await installation.pods(workload)
                await replace(installation, workload)
                assert await installation.pods(workload) & before == set()
        finally:
            tallies = await asyncio.gather(*(agent.line.stop() for agent in pods.values()))
    finally:
        await cluster.kubectl.delete([policy])
    told = [line for tally in tallies for line in tally.told]
    record_property(
        "probes while all of ours was replaced on a cluster", sum(tally.probes for tally in tallies)
    )
    record_property(
        "leaks while all of ours was replaced on a cluster", sum(tally.leaks for tally in tallies)
    )
    record_property(
        "refusals while all of ours was replaced on a cluster", sum(tally.refusals for tally in tallies)
    )
    assert not told, "\n".join(told)


async def test_a_default_deny_of_our_own_namespace_cuts_nobody_off(
    cluster: Cluster, installation: Installation, pods: dict[str, Agent]
) -> None:
    everything = town.policy({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, NAMESPACE)
    change = town.POLICIES["deny-ingress"]
    await cluster.kubectl.apply([everything])
    try:
        await installation.kill(OPERATOR)
        await installation.kill(ENFORCER)
        await cluster.kubectl.apply([change])

        assert await confirmed(list(town.rows(await stored(cluster.kubectl), pods)), pods)
    finally:
        await cluster.kubectl.delete([everything, change])


async def test_a_row_that_is_wrong_is_seen(pods: dict[str, Agent]) -> None:
    source, destination = sorted(pods)[:2]
    address = pods[source].addresses[0]
    row = Row(source, destination, family_of(address), *town.PORTS[0], Verdict.DENIED, "on purpose")

    ((found, text),) = await wrong([row], pods)

    assert found is row
    assert f"accepted {destination}" in text


def watched_rows(rows: list[Row]) -> list[Row]:
    """Some of each verdict, spread over the pairs."""
    chosen = []
    for verdict in Verdict:
        some = [row for row in rows if row.verdict is verdict and row.port is not None]
        chosen += some[:: max(1, len(some) // PAIRS_WATCHED)]
    return chosen


async def watch(agent: Agent, rows: list[Row], agents: dict[str, Agent]) -> None:
    """Have the agent ask those of the rows that begin with it, all the time."""
    asked = [(row, question_of(row, agents)) for row in rows if row.source == agent.pod.key]
    await agent.line.watch([Watched(question, EXPECTED[row.verdict]) for row, question in asked if question])
