"""Processes that are away for long, or come back to an API server that fails: what is known stays, and nothing opens."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from policy_controller.testing.api_server.faults import (
    Fault,
    HalfList,
    Refuse,
    Requests,
    StaleList,
    Verb,
    What,
)
from policy_controller.testing.installation.installation import OPERATOR, Ending, InstallationError
from policy_controller.testing.installation.settings import EnforcerSettings
from policy_controller.testing.installation.tests.rounds import ALL, ENFORCERS, Record, record
from policy_controller.testing.installation.tests.town import NAMESPACE, NODES, TCP_PORT, UDP_PORT, Town
from policy_controller.testing.laboratory import NetworkKind, Pod, inside
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport

pytestmark = [
    pytest.mark.packets,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    # What happens here happens in programs, not in pod networks.
    pytest.mark.parametrize("town", [NetworkKind.BRIDGE], indirect=True, ids=["bridge"], scope="module"),
]

GAP_SECONDS: Final = 0.1
WITHIN: Final = 20.0
POLICIES, PODS, NAMESPACES = "networkpolicies.networking.k8s.io", "pods", "namespaces"
FAILING: Final[dict[str, tuple[str, What, int]]] = {
    "policies are not listed": (POLICIES, Refuse(503), 2),
    "half of the pods is listed": (PODS, HalfList(), 2),
    "namespaces are not listed": (NAMESPACES, Refuse(403), 2),
    "policies are listed as they were before there was any": (POLICIES, StaleList(1), 1),
    "pods are listed as they were before there was any": (PODS, StaleList(1), 1),
}
"""Which resource, what goes wrong with LISTs of it, and with how many of each agent."""
ALWAYS: Final = {
    "half of the pods is listed",
    "policies are listed as they were before there was any",
}
"""What the short extent tries as well."""
AGENTS: Final = ("kopf", "kr8s")
AT_LENGTH: Final = pytest.mark.whole


@pytest.mark.parametrize(
    ("resource", "what", "times"),
    [
        pytest.param(*failing, id=name, marks=() if name in ALWAYS else AT_LENGTH)
        for name, failing in FAILING.items()
    ],
)
async def test_an_operator_that_comes_back_says_nothing_before_it_knows_all(
    town: Town, resource: str, what: What, times: int, record_property: Record
) -> None:
    with await town.probing() as probing:
        await town.installation.end(OPERATOR, Ending.KILL)
        for agent in AGENTS:
            lists = Requests(frozenset({Verb.LIST}), resource, agent=agent)
            await town.api.go_wrong(Fault(what, lists, times))
        await town.installation.begin(OPERATOR)
        await town.admit(f"without-{resource}")
        await town.in_force()
        tally = await asyncio.to_thread(probing.stop)

    assert not await town.api.is_failing()
    record(tally, 1, record_property)
    assert tally.is_clean, tally


@pytest.mark.parametrize("unknown_pods", ["drop", pytest.param("allow", marks=AT_LENGTH)])
async def test_while_the_operator_is_away_known_pods_keep_all_and_unknown_pods_have_what_the_setting_says(
    town: Town, unknown_pods: str, record_property: Record
) -> None:
    # It is there before the enforcers are: of one that comes later they would wait to be told.
    stranger = await town.build_pod("stranger", NODES[0])
    for name in ENFORCERS:
        await town.installation.end(name, Ending.TERM)
        await town.installation.begin(name, EnforcerSettings(unknown_pods=unknown_pods))
    await town.in_force()
    async with Prober() as prober:
        prober.listen(Listener(stranger.namespace, stranger.name, (TCP_PORT,), (UDP_PORT,)))
        with await town.probing() as probing:
            await every(prober, knocks(town, stranger), Outcome.ACCEPTED)
            await town.installation.end(OPERATOR, Ending.KILL)
            away = Outcome.TIMED_OUT if unknown_pods == "drop" else Outcome.ACCEPTED
            await every(prober, knocks(town, stranger), away)
            await asyncio.sleep(2)
            await every(prober, knocks(town, stranger), away)
            await town.installation.begin(OPERATOR)
            await town.in_force()
            await every(prober, knocks(town, stranger), Outcome.ACCEPTED)
            await town.report(stranger, NODES[0])
            await town.in_force()
            # Now it is one of the pods that `closed` isolates.
            await every(prober, knocks(town, stranger), Outcome.TIMED_OUT)
            tally = await asyncio.to_thread(probing.stop)
        await town.remove_pod(stranger)
    for name in ENFORCERS:
        await town.installation.end(name, Ending.TERM)
        await town.installation.begin(name)
    await town.in_force()

    record(tally, 1 + 2 * len(ENFORCERS), record_property)
    assert tally.is_clean, tally


def knocks(town: Town, stranger: Pod) -> list[Probe]:
    """From a pod of its node and of the other, to both its addresses."""
    sources = [town.laboratory.pods[name] for name in ("web", "api")]
    return [
        Probe(Endpoint(source.namespace), address, transport, port)
        for source in sources
        for address in stranger.addresses
        for transport, port in ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    ]


async def every(prober: Prober, probes: list[Probe], outcome: Outcome) -> None:
    """Return once every probe has this outcome, which it must have before long."""
    async with asyncio.timeout(WITHIN):
        while {result.outcome for result in await prober.run(probes)} != {outcome}:
            pass


async def test_a_pod_that_left_the_api_stays_gated_by_an_enforcer_with_the_rights_of_the_manifests(
    town: Town,
) -> None:
    source = town.laboratory.pods["api"]
    leaver = await town.add_pod("leaver", NODES[0])
    await town.in_force()
    async with Prober() as prober:
        prober.listen(Listener(leaver.namespace, leaver.name, (TCP_PORT,), (UDP_PORT,)))
        probes = [
            Probe(Endpoint(source.namespace), address, transport, port)
            for address in leaver.addresses
            for transport, port in ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
        ]
        await every(prober, probes, Outcome.TIMED_OUT)
        await town.api.delete("Pod", NAMESPACE, leaver.name)
        # Its gates are none of those that the cluster compiles to: what all is in force again shows is that they have gone.
        with pytest.raises(InstallationError, match="have passed"):
            await town.installation.in_force(await town.cluster(), seconds=1.2)
        results = await prober.run(probes)
        assert {result.outcome for result in results} == {Outcome.TIMED_OUT}
    await asyncio.to_thread(town.laboratory.remove_pod, leaver)
    await town.in_force()


def nft(town: Town, command: str) -> None:
    for node in town.laboratory.nodes.values():
        with inside(node.namespace):
            subprocess.run(["nft", "-f", "-"], input=command, text=True, check=True)  # noqa: S607 - root's own PATH


@asynccontextmanager
async def nobody_mends(town: Town) -> AsyncIterator[None]:
    """Every program is away meanwhile."""
    for name in ALL:
        await town.installation.end(name, Ending.KILL)
    try:
        yield
    finally:
        for name in ALL:
            await town.installation.begin(name)


@pytest.mark.parametrize(
    ("gap", "mended", "leaks"),
    [
        (
            "add table inet wall; add chain inet wall f { type filter hook forward priority -10; policy drop; }",
            "delete table inet wall",
            False,
        ),
        # What leaks goes on as a connection that was let through once, so no test may follow that sees no leak.
        ("flush chain inet policy-controller forward", "", True),
        ("delete table inet policy-controller", "", True),
    ],
    ids=["a wall", "gates that nothing leads to", "a table that is gone"],
)
async def test_a_gap_of_a_tenth_of_a_second_would_be_seen(
    town: Town, gap: str, mended: str, leaks: bool
) -> None:
    with await town.probing() as probing:
        async with nobody_mends(town):
            nft(town, gap)
            await asyncio.sleep(GAP_SECONDS)
            nft(town, mended)
        tally = await asyncio.to_thread(probing.stop)
    await town.in_force()

    assert (tally.leaks > 0) is leaks
    assert (tally.refusals > 0) is not leaks
