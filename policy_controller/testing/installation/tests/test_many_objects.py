"""Objects that select nothing, a malformed policy among a thousand, pods that change without a pause: under probing all the while."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from policy_controller.testing.installation.tests.rounds import Record
from policy_controller.testing.installation.tests.town import (
    NAMESPACE,
    NODES,
    OTHER_PORT,
    TCP_PORT,
    UDP_PORT,
    Town,
)
from policy_controller.testing.laboratory import NetworkKind, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Tally, Transport

pytestmark = [
    pytest.mark.packets,
    # Each of these is tried in memory in the short extent.
    pytest.mark.whole,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    # What happens here happens in programs, not in pod networks.
    pytest.mark.parametrize("town", [NetworkKind.BRIDGE], indirect=True, ids=["bridge"], scope="module"),
]

Json = dict[str, Any]

WITHIN: Final = 20.0
AT_ONCE: Final = 16
NOBODY: Final = {"podSelector": {"matchLabels": {"app": "nobody-has-it"}}}
NOWHERE: Final = {"namespaceSelector": {"matchLabels": {"team": "no-namespace-has-it"}}}
OF_STRANGER: Final = {"podSelector": {"matchLabels": {"app": "stranger"}}}
EMPTY: Final[dict[str, Json]] = {
    "selects nothing": {**NOBODY, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
    "no pod is a peer": {**OF_STRANGER, "policyTypes": ["Egress"], "egress": [{"to": [NOBODY]}]},
    "no namespace is a peer": {**OF_STRANGER, "policyTypes": ["Egress"], "egress": [{"to": [NOWHERE]}]},
    "no pod names the port": {
        **OF_STRANGER,
        "policyTypes": ["Egress"],
        "egress": [{"ports": [{"port": "nobody-has-it"}]}],
    },
    "an empty list of rules": {**OF_STRANGER, "policyTypes": ["Egress"], "egress": []},
}
MALFORMED: Final = {
    **OF_STRANGER,
    "policyTypes": ["Egress"],
    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}],
}
GOOD: Final = 1_000
CHANGES_A_SECOND: Final = 167
CHANGING_SECONDS: Final = 60.0
CHANGING: Final = 200
"""Pods that change, which the API alone knows."""


def policy(name: str, spec: Json) -> Json:
    metadata = {"namespace": NAMESPACE, "name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def ways_out(town: Town, stranger: Pod) -> list[Probe]:
    """From the stranger to a pod of its node and to one of the other; both admit it, so its own gate alone decides."""
    source = Endpoint(stranger.namespace)
    return [
        Probe(source, address, transport, port)
        for name in ("web", "api")
        for address in town.laboratory.pods[name].addresses
        for transport, port in ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    ]


@asynccontextmanager
async def stranger_of(town: Town) -> AsyncIterator[Pod]:
    """One more pod, which every pod admits; nobody isolates it in egress."""
    await town.api.create(policy("from-stranger", {"podSelector": {}, "ingress": [{"from": [OF_STRANGER]}]}))
    stranger = await town.add_pod("stranger", NODES[0])
    await town.in_force()
    yield stranger
    await town.remove_pod(stranger)
    await town.api.delete("NetworkPolicy", NAMESPACE, "from-stranger")
    await town.in_force()


async def every(prober: Prober, probes: list[Probe], outcome: Outcome) -> None:
    """Return once every probe has this outcome, which it must have before long."""
    async with asyncio.timeout(WITHIN):
        while {result.outcome for result in await prober.run(probes)} != {outcome}:
            pass


def record(what: str, tally: Tally, record_property: Record) -> None:
    record_property(f"{what}: probes", tally.probes)
    record_property(f"{what}: leaks", tally.leaks)
    record_property(f"{what}: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert tally.probes > 100


async def in_turns(work: Iterable[Awaitable[object]]) -> None:
    """Wait for all of it, some at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[object]) -> None:
        async with room:
            await each

    await asyncio.gather(*map(one, work))


async def test_what_selects_nothing_is_in_force_and_admits_nothing(
    town: Town, record_property: Record
) -> None:
    async with stranger_of(town) as stranger, Prober() as prober:
        with await town.probing() as probing:
            ways = ways_out(town, stranger)
            for number, (name, spec) in enumerate(EMPTY.items()):
                await every(prober, ways, Outcome.ACCEPTED)
                await town.api.create(policy(f"empty-{number}", spec))
                await town.in_force()
                closes = spec["podSelector"] == OF_STRANGER["podSelector"]
                found = {result.outcome for result in await prober.run(ways)}
                assert found == {Outcome.TIMED_OUT if closes else Outcome.ACCEPTED}, name
                await town.api.delete("NetworkPolicy", NAMESPACE, f"empty-{number}")
                await town.in_force()
            tally = await asyncio.to_thread(probing.stop)
    record("policies that select nothing", tally, record_property)


async def test_a_malformed_policy_among_a_thousand_closes_its_own_pods_in_its_direction_and_no_others(
    town: Town, record_property: Record
) -> None:
    names = [f"good-{each}" for each in range(GOOD)]
    async with stranger_of(town) as stranger, Prober() as prober:
        with await town.probing() as probing:
            ways = ways_out(town, stranger)
            await in_turns(town.api.create(policy(name, good(each))) for each, name in enumerate(names))
            await town.in_force()
            await town.api.create(policy("malformed", MALFORMED))
            began = time.monotonic()
            await every(prober, ways, Outcome.TIMED_OUT)
            closed = time.monotonic() - began
            began = time.monotonic()
            await town.admit("one-more-good-one")
            await town.in_force()
            good_seconds = time.monotonic() - began
            told = await told_of(town, "malformed")
            assert "spec.egress[0].to[0].ipBlock.cidr" in told, told
            await town.api.delete("NetworkPolicy", NAMESPACE, "malformed")
            await every(prober, ways, Outcome.ACCEPTED)
            await in_turns(town.api.delete("NetworkPolicy", NAMESPACE, name) for name in names)
            await town.in_force()
            tally = await asyncio.to_thread(probing.stop)
    record_property("good policies beside a malformed one", GOOD)
    record_property("ms until what it selects is closed", 1_000 * closed)
    record_property("ms that a good policy takes beside it, read back", 1_000 * good_seconds)
    record("a malformed policy among good ones", tally, record_property)


def good(number: int) -> Json:
    """Admits guest to db on a port that nobody probes."""
    rule = {
        "from": [{"podSelector": {"matchLabels": {"app": "guest"}}}],
        "ports": [{"port": 10_000 + number}],
    }
    return {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": [rule]}


async def told_of(town: Town, name: str) -> str:
    """What Events say of a policy, once they do."""
    async with asyncio.timeout(WITHIN):
        while True:
            for event in await town.api.list("Event"):
                if event["involvedObject"]["name"] == name:
                    return str(event["message"])
            await asyncio.sleep(0.1)


async def test_pod_changes_without_a_pause_delay_no_policy_and_converge(
    town: Town, record_property: Record
) -> None:
    changes, waits = 0, list[float]()
    db, api = (town.laboratory.pods[name] for name in ("db", "api"))
    way = Probe(Endpoint(api.namespace, api.addresses[0]), db.addresses[0], Transport.TCP, OTHER_PORT)
    pods = [f"changing-{number}" for number in range(CHANGING)]
    await in_turns(appear(town, name, number) for number, name in enumerate(pods))
    async with Prober() as prober:
        prober.listen(Listener(db.namespace, "db-other", (OTHER_PORT,)))
        async with prober.watch(way, every_ms=10) as witness:
            with await town.probing() as probing:
                changing = asyncio.create_task(change(town, pods))
                began = time.monotonic()
                for turn in itertools.count(1):
                    app, outcome = ("api", Outcome.ACCEPTED) if turn % 2 else ("nobody", Outcome.TIMED_OUT)
                    since = time.monotonic()
                    await town.admit(app)
                    seen = await witness.changed_to(outcome, since=since, within=WITHIN)
                    waits.append(seen.sent_at - since)
                    if changing.done():
                        break
                changes, seconds = await changing, time.monotonic() - began
                await town.admit("nobody")
                began = time.monotonic()
                await town.in_force()
                converged = time.monotonic() - began
                tally = await asyncio.to_thread(probing.stop)
    await in_turns(town.api.delete("Pod", NAMESPACE, name) for name in pods)
    await town.in_force()
    waits.sort()
    record_property("pod changes under probing", changes)
    record_property("pod changes a minute under probing", 60 * changes / seconds)
    record_property("policies that were timed beside them", len(waits))
    record_property("ms a policy takes beside them, median", 1_000 * statistics.median(waits))
    record_property("ms a policy takes beside them, 99 of 100", 1_000 * waits[int(0.99 * len(waits))])
    record_property("ms until every kernel holds the last of them", 1_000 * converged)
    record("pods that change", tally, record_property)


async def appear(town: Town, name: str, number: int) -> None:
    """A pod that the API alone knows."""
    metadata = {"namespace": NAMESPACE, "name": name, "labels": {"app": "changing"}}
    spec = {
        "nodeName": NODES[number % len(NODES)],
        "containers": [{"name": "main", "image": "registry.example/app:1"}],
    }
    await town.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    await show(town, name, number)


async def show(town: Town, name: str, number: int) -> None:
    """It has this address now."""
    address = f"10.250.{number >> 8 & 255}.{number & 255}"
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    await town.api.patch("Pod", NAMESPACE, name, {"status": status}, "/status")


async def change(town: Town, pods: list[str]) -> int:
    """For a minute pods get other labels and addresses, so many a second or as many as the API server takes; returns how many."""
    made, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < CHANGING_SECONDS:
        due = min(int(passed * CHANGES_A_SECOND) - made, AT_ONCE)
        await in_turns(changed(town, pods[each % len(pods)], each) for each in range(made, made + due))
        made += due
        await asyncio.sleep(0)
    return made


async def changed(town: Town, name: str, number: int) -> None:
    if number % 2:
        await show(town, name, number)
        return
    labels = {"labels": {"app": ("changing", "web", "api")[number % 3]}}
    await town.api.patch("Pod", NAMESPACE, name, {"metadata": labels})
