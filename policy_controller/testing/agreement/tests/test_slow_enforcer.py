"""One enforcer stops reading while its connection stays: others get what they should as fast as ever, and it is dropped in the end.

Nothing queues for it meanwhile: one message is under way on a stream, and what changes becomes one delta, or the snapshot that it
gets when it is back.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policy_controller.controller import server, sessions
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.whole_path import NODES, WholePath
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Expected,
    Listener,
    Pair,
    Probe,
    Transport,
)

pytestmark = [pytest.mark.packets, pytest.mark.whole, pytest.mark.timeout(300)]

READS, SLEEPS = NODES
PODS = {"web": READS, "client": READS, "far-web": SLEEPS, "far-client": SLEEPS}
ALLOWED = (("client", "web"), ("far-client", "web"), ("far-client", "far-web"), ("client", "far-web"))
DENIED = (("web", "client"), ("far-web", "client"), ("far-web", "far-client"), ("web", "far-client"))
"""On one node and across, through the gates of either."""
LIMIT_SECONDS = 15.0
"""A quarter of what is stated (sessions.ACK_SECONDS)."""
CHANGES = 40
SLOWER = 3.0
AND_MS = 50.0
TCP_PORT, UDP_PORT = 80, 53
CLOSED = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Ingress"]}


def into_web(other: str) -> dict[str, object]:
    """Clients may, and somebody else may on a port that nobody probes."""
    peers = [{"podSelector": {"matchLabels": {"app": app}}} for app in ("client", other)]
    rules = [{"from": peers[:1]}, {"from": peers[1:], "ports": [{"port": 81}]}]
    return {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": rules}


@pytest.fixture
async def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WholePath]:
    # Less than a gRPC connection stays without an answer to its ping (wire/channel.py).
    limit = LIMIT_SECONDS
    monkeypatch.setattr(sessions, "ACK_SECONDS", limit)
    monkeypatch.setattr(server, "ACK_SECONDS", limit)
    async with WholePath(tmp_path, NetworkKind.BRIDGE) as path:
        for name, node in PODS.items():
            path.tell_pod(
                path.laboratory.add_pod(path.laboratory.nodes[node], name), name.removeprefix("far-")
            )
        path.tell_policies({"closed": CLOSED, "into-web": into_web("nobody")})
        await path.settled()
        yield path


def probing(path: WholePath) -> ContinuousProbing:
    pods = path.laboratory.pods
    ways = ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    return ContinuousProbing(
        [Listener(pods[name].namespace, name, (TCP_PORT,), (UDP_PORT,)) for name in PODS],
        [
            Pair(Probe(Endpoint(pods[source].namespace, start), end, transport, port), expected)
            for expected, ends in ((Expected.ALLOWED, ALLOWED), (Expected.DENIED, DENIED))
            for source, destination in ends
            for start, end, (transport, port) in zip(
                pods[source].addresses, pods[destination].addresses, ways, strict=True
            )
        ],
    )


async def changes(path: WholePath, prefix: str) -> float:
    """Milliseconds from a change of a policy until the node that reads has acknowledged it: the median of several."""
    took = []
    for number in range(CHANGES):
        path.tell_policies({"into-web": into_web(f"{prefix}-{number}")})
        began = time.monotonic()
        await path.acknowledged(READS)
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


async def test_an_enforcer_that_stops_reading_is_dropped_and_gets_a_snapshot_when_it_is_back(
    path: WholePath, record_property: Record
) -> None:
    with probing(path) as probed:
        before = await changes(path, "before")
        await path.settled()
        path.freeze_enforcer(SLEEPS)
        began = time.monotonic()
        try:
            meanwhile = await changes(path, "meanwhile")
            # What it should have is one state, however much has changed.
            assert path.streams.statuses()[SLEEPS].sent == path.streams.statuses()[SLEEPS].acked + 1
            async with asyncio.timeout(sessions.ACK_SECONDS + 10):
                while SLEEPS in path.streams.nodes:  # noqa: ASYNC110 - a stream that ends sets no event
                    await asyncio.sleep(0.02)
            dropped = time.monotonic() - began
            assert path.ended_streams["DEADLINE_EXCEEDED"] == 1
        finally:
            path.thaw_enforcer(SLEEPS)
        began = time.monotonic()
        await path.settled()
        back = time.monotonic() - began
        # A stream begins with a snapshot, and with all that was changed: nothing more is to be said.
        assert path.streams.statuses()[SLEEPS].acked == 1
        tally = await asyncio.to_thread(probed.stop)
    record_property("an enforcer does not read: ms of a change elsewhere before", round(before))
    record_property("an enforcer does not read: ms of a change elsewhere meanwhile", round(meanwhile))
    record_property("an enforcer does not read: seconds until it was dropped", round(dropped))
    record_property("an enforcer does not read: ms until it had all when it was back", round(back * 1000))
    record_property("an enforcer does not read: probes", tally.probes)
    record_property("an enforcer does not read: leaks", tally.leaks)
    record_property("an enforcer does not read: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert meanwhile <= SLOWER * before + AND_MS
