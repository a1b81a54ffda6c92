"""Two replicas of the operator, one of which lags behind: an enforcer between them never goes back, and says why.

The operators are the real ones beside the development API server, whose watches and LISTs lag for one of them; the enforcer is
a process, and pods say by packets what it enforces.
"""

import asyncio
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.enforcers import install, published, token_of
from policy_controller.controller.tests.objects import new
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.waiting import eventually
from policy_controller.enforcer.tests.operator_double import Site
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Fault, Faults, Requests, StaleList, Stall, Verb
from policy_controller.testing.extent import Extent
from policy_controller.testing.kubelet.relay import ADDRESSES, PORT, Relay
from policy_controller.testing.laboratory import Laboratory, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport, Watch
from policy_controller.wire.channel import HostPort

pytestmark = [pytest.mark.packets, pytest.mark.timeout(120)]

ENFORCER: Final = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
NODE: Final = "node-a"
HEALTH: Final = "127.0.0.1:9470"
WITHIN: Final = 30.0
LATER: Final = 0.6
EVERY_MS: Final = 10.0
POLICIES: Final = "networkpolicies.networking.k8s.io"
WATCHES: Final = Requests(frozenset({Verb.WATCH}))
ANSWERED: Final = frozenset({Outcome.ACCEPTED, Outcome.REFUSED})


@dataclass(slots=True)
class Ground:
    """One node that is enforced, and a way to one operator at a time."""

    server: ApiServer
    faults: Faults
    laboratory: Laboratory
    prober: Prober
    relay: Relay
    client: Pod
    web: Pod
    folder: Path

    def follow(self, replica: Running) -> None:
        """The enforcer's way leads to this replica, and its stream to another ends."""
        self.relay.lead_to("127.0.0.1", replica.operator.server.port)

    def create(self, tree: dict[str, Any]) -> int:
        """The API server has it; its version then."""
        return int(self.server.create(new(tree))["metadata"]["resourceVersion"])

    async def ready(self) -> str:
        """What the enforcer says of itself: "ok", or why it is not ready."""

        def ask() -> str:
            try:
                with urllib.request.urlopen(f"http://{HEALTH}/readyz", timeout=5) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError as error:
                return error.read().decode()
            except OSError as error:
                return str(error)

        namespace = self.laboratory.nodes[NODE].namespace
        return await asyncio.to_thread(lambda: self.laboratory.run_in(namespace, ask).strip())

    async def says(self, words: str) -> str:
        """Return what the enforcer says once these words are part of it."""
        deadline = time.monotonic() + WITHIN
        while words not in (text := await self.ready()):
            assert time.monotonic() < deadline, text
            await asyncio.sleep(0.05)
        return text

    async def isolated(self, expected: bool) -> None:
        """Return once every packet to web is dropped, or none is."""
        wanted = Outcome.TIMED_OUT if expected else Outcome.ACCEPTED
        deadline = time.monotonic() + WITHIN
        while {one.outcome for one in await self.prober.run(self.probes())} != {wanted}:
            assert time.monotonic() < deadline

    def probes(self) -> list[Probe]:
        return [
            Probe(Endpoint(self.client.namespace), there, transport, port)
            for there in self.web.addresses
            for transport, port in ((Transport.TCP, 80), (Transport.UDP, 53))
        ]

    async def watched(self, stack: AsyncExitStack) -> list[Watch]:
        """Probing from now on. A port of a probe that was let through before may come again, and would be its connection."""

        def forget() -> None:
            with NFCTSocket() as conntrack:
                conntrack.flush()

        await asyncio.to_thread(self.laboratory.run_in, self.laboratory.nodes[NODE].namespace, forget)
        return [
            await stack.enter_async_context(self.prober.watch(probe, every_ms=EVERY_MS))
            for probe in self.probes()
        ]


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Ground]:
    faults = Faults()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ApiServer.running(faults=faults))
        laboratory = stack.enter_context(Laboratory())
        prober = await stack.enter_async_context(Prober())
        node = laboratory.add_node(NODE)
        relay = await stack.enter_async_context(Relay(laboratory, "127.0.0.1", 1))
        install(server, [NODE])
        for tree in (objects.namespace("shop"), objects.node(NODE, address=str(node.ipv4))):
            server.create(new(tree))
        pods = []
        for name in ("client", "web"):
            pods.append(laboratory.add_pod(node, name))
            tree = objects.pod(name, node=NODE, labels={"app": name})
            tree["status"]["podIPs"] = [{"ip": str(address)} for address in pods[-1].addresses]
            server.create(new(tree))
            prober.listen(Listener(pods[-1].namespace, name, (80,), (53,)))
        client, web = pods
        yield Ground(server, faults, laboratory, prober, relay, client, web, folder)


def start_enforcer(one: Ground) -> None:
    """It finds whichever operator the relay leads to."""
    way = Site(one.folder, HostPort(str(ADDRESSES[0]), PORT))
    way.give_ca(published(one.server).encode())
    way.give_token(token_of(one.server, NODE))
    links = ",".join(one.laboratory.pod_interfaces)
    flags = ("--node", NODE, *way.flags(), "--pod-interfaces", links, "--listen", HEALTH)
    namespace = one.laboratory.nodes[NODE].namespace
    with (one.folder / "enforcer.log").open("wb") as log:
        one.laboratory.spawn(namespace, [*ENFORCER, *flags], stdout=log, stderr=log)


def folder_of(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


DENIED: Final = objects.policy("closed", {"podSelector": {"matchLabels": {"app": "web"}}})
OTHER: Final = objects.policy("other", {"podSelector": {"matchLabels": {"app": "nobody"}}})


async def test_an_enforcer_that_changes_to_a_lagging_replica_keeps_what_it_has_and_says_why(
    tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    async with site(tmp_path) as one, AsyncExitStack() as stack:
        lagging = await stack.enter_async_context(operator_of(one.server, folder_of(tmp_path, "lagging")))
        # A watch that opens later would hear.
        await eventually(lambda: not any(map(lagging.operator.signs.unwatched_seconds, Kind)))
        # Its watches hear nothing any more, and do not end; those of a replica that starts now do.
        one.faults.begin(Fault(Stall(), WATCHES, times=0))
        current = await stack.enter_async_context(operator_of(one.server, folder_of(tmp_path, "current")))
        one.follow(lagging)
        start_enforcer(one)
        await one.says("ok")
        await one.isolated(False)
        # Nor do its LISTs, and one of them may still be due: watches that have begun ask for it.
        stale = one.create(OTHER)
        lists = one.faults.begin(Fault(StaleList(stale), Requests(frozenset({Verb.LIST}), POLICIES)))

        version = one.create(DENIED)
        one.follow(current)
        await one.isolated(True)
        await one.says("ok")
        watches = await one.watched(stack)
        changes = 0
        for _ in range(extent.choose(1, 10)):
            one.follow(lagging)
            reason = await one.says("is older than")
            assert "generation 1 is not in force: stands:" in reason
            assert f"policies {version}" in reason
            await asyncio.sleep(LATER)
            one.follow(current)
            await one.says("ok")
            changes += 2
        # A replica that catches up is followed like any other.
        one.follow(lagging)
        await one.says("is older than")
        one.faults.end(lists.number)
        lagging.operator.relister.request()
        await one.says("ok")
        await asyncio.sleep(LATER)

        seen = [result for watch in watches for result in watch.results]
        leaks = [result for result in seen if result.outcome in ANSWERED]
        record_property("changes to a lagging replica and back", changes)
        record_property("probes while a replica lagged", len(seen))
        record_property("leaks while a replica lagged", len(leaks))
        assert not leaks, leaks
        assert len(seen) > 100
        assert "older" in (tmp_path / "enforcer.log").read_text()


@pytest.mark.whole
async def test_a_replica_that_starts_from_a_stale_list_is_not_followed_back(
    tmp_path: Path, record_property: Record
) -> None:
    async with site(tmp_path) as one, AsyncExitStack() as stack:
        stale = one.create(OTHER)
        one.create(DENIED)
        current = await stack.enter_async_context(operator_of(one.server, folder_of(tmp_path, "current")))
        one.follow(current)
        start_enforcer(one)
        await one.isolated(True)
        await one.says("ok")
        watches = await one.watched(stack)
        # Both agents list; the server that the second replica asks lags behind, and tells its watches nothing.
        lists = one.faults.begin(Fault(StaleList(stale), Requests(frozenset({Verb.LIST}), POLICIES)))
        stalled = one.faults.begin(Fault(Stall(), Requests(frozenset({Verb.WATCH}), POLICIES)))
        lagging = await stack.enter_async_context(operator_of(one.server, folder_of(tmp_path, "lagging")))
        assert not lagging.wanted(NODE).isolates
        one.follow(lagging)
        await one.says("is older than")
        await asyncio.sleep(LATER)
        # The server has caught up.
        one.faults.end(lists.number)
        one.faults.end(stalled.number)
        lagging.operator.relister.request()
        await one.says("ok")

        seen = [result for watch in watches for result in watch.results]
        leaks = [result for result in seen if result.outcome in ANSWERED]
        record_property("probes while a replica lagged", len(seen))
        record_property("leaks while a replica lagged", len(leaks))
        assert not leaks, leaks
        assert len(seen) > 100
