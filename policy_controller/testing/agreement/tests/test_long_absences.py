"""What lasts long, by enforcers whose clock runs faster: an operator that is away for an hour, a pod that never gets an address.

Every pair of known pods is probed all the while, by the clock of the world.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from policy_controller.enforcer.gates import UnknownGates
from policy_controller.testing import hastened
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.whole_path import NODES, WholePath
from policy_controller.testing.installation.tests.town import pairs_of
from policy_controller.testing.laboratory import NetworkKind, Pod
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Listener,
    Outcome,
    Probe,
    ProbeResult,
    Tally,
    Transport,
)

# installation/tests/test_absence.py tries a short absence in the short extent.
pytestmark = [pytest.mark.packets, pytest.mark.whole, pytest.mark.timeout(300)]

TCP_PORT: Final = 80
UDP_PORT: Final = 53
APPS: Final = {"web": "node-a", "db": "node-a", "api": "node-b", "guest": "node-b"}
SPECS: Final[dict[str, dict[str, Any]]] = {
    "closed": {"podSelector": {}, "policyTypes": ["Ingress"]},
    "into-db": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": app}}} for app in ("web", "api")]}],
    },
    "out-of-guest": {"podSelector": {"matchLabels": {"app": "guest"}}, "policyTypes": ["Egress"]},
}
HOUR: Final = 3_600.0
FACTOR: Final = 120.0
"""Seconds of an enforcer's clock in one of the world: an hour passes in thirty."""
GATED_FACTOR: Final = 10.0
STATED_SECONDS: Final = UnknownGates().wait_seconds
WITHIN: Final = 20.0
DELAY: Final = 2.0
"""Seconds of the world that an enforcer and a probe may take beside what is stated."""


@asynccontextmanager
async def town(folder: Path, factor: float) -> AsyncIterator[WholePath]:
    enforcer = hastened.enforcer(factor)
    async with WholePath(folder, NetworkKind.BRIDGE, enforcer=enforcer) as path:
        for name, node in APPS.items():
            path.tell_pod(path.laboratory.add_pod(path.laboratory.nodes[node], name), name)
        path.tell_policies(SPECS)
        await path.settled()
        yield path


def probing_of(path: WholePath) -> ContinuousProbing:
    """Every pair of the first pods in both families, with what the evaluator expects."""
    pods = [path.laboratory.pods[name] for name in APPS]
    listeners = [Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)) for pod in pods]
    return ContinuousProbing(listeners, pairs_of(path.store.cluster(), pods))


def knocks(path: WholePath, pod: Pod) -> list[Probe]:
    """At the pod, from one of its node and one of the other that may open connections to everybody."""
    sources = [path.laboratory.pods[name] for name in ("web", "api")]
    return [
        Probe(Endpoint(source.namespace), there, transport, port)
        for source in sources
        for there in pod.addresses
        for transport, port in ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    ]


async def all_of(path: WholePath, pod: Pod, outcome: Outcome) -> None:
    """Return once every knock at the pod ends so."""
    deadline = time.monotonic() + WITHIN
    while {result.outcome for result in await path.prober.run(knocks(path, pod))} != {outcome}:
        assert time.monotonic() < deadline


def record(what: str, tally: Tally, record_property: Record) -> None:
    record_property(f"{what}: probes", tally.probes)
    record_property(f"{what}: heartbeats of open connections", tally.heartbeats)
    record_property(f"{what}: leaks", tally.leaks)
    record_property(f"{what}: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert tally.probes > 100


async def test_while_the_operator_is_away_for_an_hour_pods_come_and_go_and_nothing_opens_or_closes(
    tmp_path: Path, record_property: Record
) -> None:
    async with town(tmp_path, FACTOR) as path:
        with probing_of(path) as probing:
            await path.go_away()
            await path.nodes_noticed()
            began, number = time.monotonic(), 0
            left: list[ProbeResult] = []
            while (time.monotonic() - began) * FACTOR < HOUR:
                pod = path.laboratory.add_pod(
                    path.laboratory.nodes[NODES[number % len(NODES)]], f"late-{number}"
                )
                path.prober.listen(Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)))
                left += [
                    result
                    for result in await path.prober.run(knocks(path, pod))
                    if result.outcome is not Outcome.TIMED_OUT
                ]
                if number % 3:
                    await asyncio.to_thread(path.laboratory.remove_pod, pod)
                number += 1
            for name in NODES:
                # Nobody has told it anything for an hour, and it says so.
                assert "operator" in await path.asked(name, "/readyz")
                assert "policy_enforcer_connected 0.0" in await path.asked(name, "/metrics")
                assert (await path.asked(name, "/healthz")).startswith("ok")
            await path.serve()
            for name, pod in path.laboratory.pods.items():
                if name.startswith("late-"):
                    path.tell_pod(pod, "db" if name.endswith("0") else "web")
            await path.settled()
            # late-0 is one of those that web and api may reach now; others that came are as closed as they were.
            await all_of(path, path.laboratory.pods["late-0"], Outcome.ACCEPTED)
            await all_of(path, path.laboratory.pods["late-3"], Outcome.TIMED_OUT)
            tally = await asyncio.to_thread(probing.stop)
    record_property("seconds of enforcers' clocks without an operator", HOUR)
    record_property("seconds of enforcers' clocks in one of the world", FACTOR)
    record_property("pods that came while the operator was away", number)
    record_property("operator away: leaks at them", len(left))
    record("operator away", tally, record_property)
    assert not left, left


async def test_a_pod_that_never_gets_an_address_closes_new_pods_of_its_node_no_longer_than_stated(
    tmp_path: Path, record_property: Record
) -> None:
    longest = 0.0
    async with town(tmp_path, GATED_FACTOR) as path:
        stranger = path.laboratory.add_pod(path.laboratory.nodes["node-a"], "stranger")
        elsewhere = path.laboratory.add_pod(path.laboratory.nodes["node-b"], "elsewhere")
        for pod in (stranger, elsewhere):
            path.prober.listen(Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)))
            # The node has seen its link, and waited for somebody to tell of it.
            await all_of(path, pod, Outcome.ACCEPTED)
        with probing_of(path) as probing:
            for number in range(4):
                began = time.monotonic()
                path.tell_bound(f"never-{number}", "node-a", "web")
                await path.settled()
                await all_of(path, stranger, Outcome.TIMED_OUT)
                # The other node waits for nobody.
                await all_of(path, elsewhere, Outcome.ACCEPTED)
                await all_of(path, stranger, Outcome.ACCEPTED)
                longest = max(longest, time.monotonic() - began)
                assert f"policy_enforcer_pods_overdue {number + 1}.0" in await path.asked(
                    "node-a", "/metrics"
                )
            tally = await asyncio.to_thread(probing.stop)
    record_property("seconds that a pod without an address may close others", STATED_SECONDS)
    record_property("seconds that it did", longest * GATED_FACTOR)
    record("a pod without an address", tally, record_property)
    assert longest < STATED_SECONDS / GATED_FACTOR + DELAY
