"""Somebody on a node changes our tables: mended within a second, told with who it was, and nothing opens but what they opened.

What passes between the change and the mending nobody can judge: it is counted, and nothing is before or after it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import pytest
import pytest_asyncio

from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.enforcer.surroundings import BRIDGE_CALLS, BRIDGE_SETTINGS
from policy_controller.testing.installation.commits import Commits
from policy_controller.testing.installation.installation import ENFORCER_PORT, enforcer_of
from policy_controller.testing.installation.tests.rounds import Record
from policy_controller.testing.installation.tests.town import NODES, TCP_PORT, UDP_PORT, Town
from policy_controller.testing.kubelet.probes import fetched
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import (
    Endpoint,
    Listener,
    Outcome,
    Probe,
    Prober,
    ProbeResult,
    Transport,
    Watch,
)
from policy_controller.testing.probe.continuous import ANSWERED, is_refused

pytestmark = [
    pytest.mark.packets,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

NODE: Final = NODES[0]
"""The node of web and db, whose tables are changed."""
ALLOWED, DENIED = (("web", "db"), ("api", "db")), (("db", "web"), ("api", "web"))
"""Pairs of which only gates of NODE judge."""
EVERY_MS: Final = 20.0
MOST_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 0.03
"""A probe that was sent this long before a commit may be judged after it."""
THEIRS_AND_OURS: Final = 2
QUIET_SECONDS: Final = 0.1
Window = tuple[float, float]
"""Times (time.monotonic()) before somebody's commit, and after it was mended and what had begun was ended."""
TABLE: Final = "inet policy-controller"

HARM: Final[Mapping[str, str]] = {
    "a gate deleted": f"delete element {TABLE} ingress4 {{ WEB }}",
    "all gates deleted": f"flush map {TABLE} ingress4; flush map {TABLE} ingress6",
    "a known address deleted": f"delete element {TABLE} known4 {{ WEB }}",
    "a table flushed": f"flush table {TABLE}",
    "an element added": f"add element {TABLE} self4 {{ DB . WEB }}",
    "a rule added that accepts": f"insert rule {TABLE} forward accept",
    "a rule added that drops": f"insert rule {TABLE} forward drop",
    "rules deleted": f"flush chain {TABLE} forward",
    "a base chain deleted": f"flush chain {TABLE} forward; delete chain {TABLE} forward",
    "a table put to sleep": f"add table {TABLE} {{ flags dormant; }}",
    "a table deleted": f"delete table {TABLE}",
    "the table of frames deleted": "delete table bridge policy-controller",
    "everything deleted": "flush ruleset",
}
OPENS_NOTHING: Final = {
    "a known address deleted",
    "a rule added that drops",
    "the table of frames deleted",
}


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param(kind, marks=() if kind is NetworkKind.BRIDGE else pytest.mark.whole, id=kind.value)
        for kind in NetworkKind
    ],
)
async def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    async with Town(request.param, tmp_path_factory.mktemp("town")) as town:
        yield town


class Watched:
    """Pairs that are asked every few milliseconds, in both families, by TCP and UDP."""

    def __init__(self, town: Town, prober: Prober, stack: AsyncExitStack) -> None:
        self._town, self._prober, self._stack = town, prober, stack
        self.allowed: list[Watch] = []
        self.denied: list[Watch] = []

    async def begin(self) -> None:
        for name in ("web", "db"):
            pod = self._town.laboratory.pods[name]
            self._prober.listen(Listener(pod.namespace, name, (TCP_PORT,), (UDP_PORT,)))
        for pairs, watches in ((ALLOWED, self.allowed), (DENIED, self.denied)):
            for number, (source, destination) in enumerate(pairs):
                here, there = (self._town.laboratory.pods[name] for name in (source, destination))
                ports = {Transport.TCP: TCP_PORT, Transport.UDP: UDP_PORT}
                ways = list(ports)[:: 1 if number else -1]
                for start, end, way in zip(here.addresses, there.addresses, ways, strict=True):
                    probe = Probe(Endpoint(here.namespace, start), end, way, ports[way])
                    watch = self._prober.watch(probe, every_ms=EVERY_MS)
                    watches.append(await self._stack.enter_async_context(watch))

    @staticmethod
    def results(watches: Sequence[Watch]) -> list[ProbeResult]:
        return [result for watch in watches for result in watch.results]


def nft(town: Town, text: str) -> int:
    """Somebody's own nft, on the node; returns its process's number."""
    with town.laboratory.spawn(town.laboratory.nodes[NODE].namespace, ["nft", text]) as process:
        assert process.wait(10) == 0, text
        return process.pid


def forget_connections(town: Town) -> None:
    """The node's kernel forgets the connections of its pods."""
    addresses = frozenset(
        address for name in ("web", "db") for address in town.laboratory.pods[name].addresses
    )
    town.laboratory.run_in(town.laboratory.nodes[NODE].namespace, lambda: Conntrack().end(addresses))


async def answered(commits: Commits, since: float) -> None:
    """Return when somebody's commit has been followed by another."""
    async with asyncio.timeout(30):
        # A thread counts them.
        while len(commits.between(since, time.monotonic())) < THEIRS_AND_OURS:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


async def quiet(commits: Commits) -> None:
    """Return when nobody has committed anything for a while."""
    async with asyncio.timeout(30):
        # A thread counts them.
        while commits.between((now := time.monotonic()) - QUIET_SECONDS, now):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


def outside(results: Sequence[ProbeResult], windows: Mapping[str, Window]) -> list[ProbeResult]:
    """Those that were under way in none of the windows."""
    return [result for result in results if not any(_meets(result, *window) for window in windows.values())]


def _meets(result: ProbeResult, begin: float, end: float) -> bool:
    answered = result.sent_at + result.elapsed_ms / 1000
    return result.sent_at <= end + GRACE_SECONDS and answered >= begin


async def told(town: Town, number: int) -> None:
    """Return when there is an Event on the node that names the process."""
    async with asyncio.timeout(30):
        while True:
            for event in await town.api.list("Event"):
                if event["involvedObject"]["kind"] == "Node" and f"nft (pid {number})" in event["message"]:
                    assert event["involvedObject"]["name"] == NODE
                    return
            await asyncio.sleep(0.1)


def switch_bridge_calls(town: Town, value: str) -> None:
    """Whether bridges of the node hand packets to the IP hooks; somebody's own sysctl."""
    for name in BRIDGE_CALLS:
        town.laboratory.run_in(
            town.laboratory.nodes[NODE].namespace, partial((BRIDGE_SETTINGS / name).write_text, value)
        )


async def ready(town: Town) -> str:
    """What the node's enforcer says of itself."""
    network = town.installation.network_of(enforcer_of(NODE))
    _, body = await fetched(network, "127.0.0.1", ENFORCER_PORT, "/readyz")
    return body.decode()


async def said(town: Town, words: str) -> float:
    """Seconds until the enforcer says these words."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while words not in await ready(town):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_node_whose_bridges_are_switched_off_says_so_within_a_second_and_enforces_again_when_they_are_back(
    town: Town, record_property: Record
) -> None:
    if town.network is NetworkKind.ROUTED:
        pytest.skip("there is no bridge")
    await said(town, "ok\n")
    async with AsyncExitStack() as stack:
        prober = await stack.enter_async_context(Prober())
        watched = Watched(town, prober, stack)
        await watched.begin()
        # Asked once by everybody before it is counted.
        await asyncio.sleep(0.2)
        began = time.monotonic()
        try:
            await asyncio.to_thread(switch_bridge_calls, town, "0")
            told = await said(town, "net.bridge.bridge-nf-call-iptables is off")
        finally:
            await asyncio.to_thread(switch_bridge_calls, town, "1")
        again = await said(town, "ok\n")
        await asyncio.to_thread(forget_connections, town)
        windows = {"off": (began, time.monotonic())}
        for watch in watched.denied:
            await watch.changed_to(Outcome.TIMED_OUT, since=time.monotonic(), within=10)
        allowed, denied = watched.results(watched.allowed), watched.results(watched.denied)
    leaks = [result for result in denied if result.outcome in ANSWERED]
    refusals = [result for result in allowed if is_refused(result)]
    where = f"bridge calls off ({town.network.value})"
    record_property(f"{where}: ms until told", round(told * 1000))
    record_property(f"{where}: ms until ready again", round(again * 1000))
    record_property(f"{where}: probes", len(allowed) + len(denied))
    record_property(f"{where}: passed meanwhile on one node", len(leaks))
    record_property(f"{where}: leaks before or after", len(outside(leaks, windows)))
    record_property(f"{where}: refusals", len(refusals))
    assert told <= MOST_SECONDS
    assert again <= MOST_SECONDS
    assert not outside(leaks, windows)
    assert not outside(refusals, windows)
    assert "net.bridge.bridge-nf-call-iptables is off" in town.installation.log_of(enforcer_of(NODE))


async def test_whatever_somebody_changes_is_mended_within_a_second(
    town: Town, record_property: Record
) -> None:
    namespace = town.laboratory.nodes[NODE].namespace
    web, db = (str(town.laboratory.pods[name].addresses[0]) for name in ("web", "db"))
    windows: dict[str, Window] = {}
    took: dict[str, float] = {}
    numbers: list[int] = []
    async with AsyncExitStack() as stack:
        prober = await stack.enter_async_context(Prober())
        watched = Watched(town, prober, stack)
        await watched.begin()
        commits = stack.enter_context(Commits(namespace))
        for name, text in HARM.items():
            before = time.monotonic()
            number = await asyncio.to_thread(nft, town, text.replace("WEB", web).replace("DB", db))
            # Until the first of ours the table may hold what nobody can read.
            await answered(commits, before)
            await town.in_force()
            await quiet(commits)
            harmed, *_, mended = commits.between(before, time.monotonic())
            # What began while it was open may go on, and a later flow with its ports would be taken for it.
            await asyncio.to_thread(forget_connections, town)
            windows[name], took[name] = (before, time.monotonic()), mended - harmed
            numbers.append(number)
        # Whatever was asked in the last window has been answered, or is not going to be.
        for watch in watched.denied:
            await watch.changed_to(Outcome.TIMED_OUT, since=time.monotonic(), within=10)
        allowed, denied = watched.results(watched.allowed), watched.results(watched.denied)

    leaks = [result for result in denied if result.outcome in ANSWERED]
    refusals = [result for result in allowed if is_refused(result)]
    for name, (begin, end) in windows.items():
        where = f"{name} ({town.network.value})"
        record_property(f"ms until mended: {where}", round(took[name] * 1000))
        meanwhile = [result for result in leaks if begin <= result.sent_at <= end]
        record_property(f"leaks until mended: {where}", len(meanwhile))
        assert not (name in OPENS_NOTHING and meanwhile), name
    record_property("meddling probes", len(allowed) + len(denied))
    record_property("meddling leaks outside of what was opened", len(outside(leaks, windows)))
    record_property("meddling refusals outside of what was closed", len(outside(refusals, windows)))
    assert not outside(leaks, windows)
    assert not outside(refusals, windows)
    assert all(seconds <= MOST_SECONDS for seconds in took.values()), took
    # Later ones come so soon after each other that they are told together.
    assert f"nft (pid {numbers[0]}) changed {TABLE}" in town.installation.log_of(enforcer_of(NODE))
    await told(town, numbers[0])
