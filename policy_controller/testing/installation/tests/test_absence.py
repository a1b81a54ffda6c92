"""Processes that are away for long, or come back to an API server that fails: what is known stays, and nothing opens."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from typing import Final

import pytest
from pyroute2 import NFCTSocket

from policy_controller.testing.api_server.faults import (
    End,
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
OLD_SECONDS: Final = 5.0
"""For how long the API server tells nobody of any policy."""
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
OLD: Final[dict[Verb, What]] = {Verb.LIST: StaleList(1), Verb.WATCH: End()}
REFUSAL: Final = "which was in force"
"""What an enforcer says of an older state."""
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


@AT_LENGTH
async def test_an_old_list_does_not_lead_back_nodes_whose_enforcers_come_back_with_the_operator(
    town: Town, record_property: Record
) -> None:
    await alive(town)
    with await town.probing() as probing:
        for name in ALL:
            await town.installation.end(name, Ending.TERM)
        for agent, (verb, what) in product(AGENTS, OLD.items()):
            requests = Requests(frozenset({verb}), POLICIES, agent=agent)
            await town.api.go_wrong(Fault(what, requests, seconds=OLD_SECONDS))
        for name in ALL:
            await town.installation.begin(name)
        async with asyncio.timeout(WITHIN):
            while not all(REFUSAL in town.installation.log_of(name) for name in ENFORCERS):  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.05)
        await town.admit("after-an-old-list")
        await town.in_force()
        tally = await asyncio.to_thread(probing.stop)
        async with asyncio.timeout(WITHIN):
            while await town.api.is_failing():  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.05)

    record(tally, len(ALL), record_property)
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


@asynccontextmanager
async def restarted_nodes(town: Town) -> AsyncIterator[None]:
    """Nodes that have restarted: nothing is left but what was on their disks. No operator is there for the length of the block."""
    # A process that has only just begun has not yet heard of signals, and is the first of its namespace.
    await alive(town)
    for name in ALL:
        await town.installation.end(name, Ending.TERM)
    nft(town, "delete table inet policy-controller; delete table bridge policy-controller")
    for node in town.laboratory.nodes.values():
        await asyncio.to_thread(town.laboratory.run_in, node.namespace, forget_connections)
    for name in ENFORCERS:
        await town.installation.begin(name)
    await alive(town)
    yield
    await town.installation.begin(OPERATOR)


async def alive(town: Town) -> None:
    """Return once every enforcer says that it lives."""
    async with asyncio.timeout(WITHIN):
        while not all([await town.installation.is_alive(name) for name in ENFORCERS]):
            pass


def forget_connections() -> None:
    with NFCTSocket() as connections:
        connections.flush()


async def test_nodes_that_restart_without_an_operator_enforce_what_they_did(
    town: Town, record_property: Record
) -> None:
    async with Prober() as prober:
        stranger = await town.build_pod("stranger", NODES[0])
        prober.listen(Listener(stranger.namespace, stranger.name, (TCP_PORT,), (UDP_PORT,)))
        async with AsyncExitStack() as stack:
            async with restarted_nodes(town):
                probing = stack.enter_context(await town.probing())
                # Nobody has told these nodes of it.
                await every(prober, knocks(town, stranger), Outcome.TIMED_OUT)
                await asyncio.sleep(1)
            await town.in_force()
            await every(prober, knocks(town, stranger), Outcome.ACCEPTED)
            tally = await asyncio.to_thread(probing.stop)
        await asyncio.to_thread(town.laboratory.remove_pod, stranger)

    record(tally, len(ALL), record_property)
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
