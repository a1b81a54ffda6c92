"""Hundreds at a time: no verdict is an accident of load."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from policy_controller.testing.laboratory import Laboratory
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport
from policy_controller.testing.probe.tests.conftest import Town, rules

pytestmark = pytest.mark.packets

MIX = ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 9999), (Transport.TCP, 8080))


def many(town: Town, count: int) -> list[Probe]:
    pairs = [(source, pod) for source in town.pods for pod in town.pods if source is not pod]
    kinds = [(pair, kind, family) for pair in pairs for kind in MIX for family in (0, 1)]
    return [
        Probe(Endpoint(source.namespace), pod.addresses[family], transport, port, peer=pod.name)
        for (source, pod), (transport, port), family in (
            kinds[number % len(kinds)] for number in range(count)
        )
    ]


@contextmanager
def busy_processors(count: int) -> Iterator[None]:
    spin = "print(flush=True)\nwhile True: pass"
    argv = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-S", "-c", spin]
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(count)]  # noqa: S603 - the text above
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def stall(times: int, seconds: float) -> None:
    """Keep the loop from turning, again and again, with one turn in between: a starved process."""
    for _ in range(times):
        time.sleep(seconds)  # noqa: ASYNC251 - the fault itself
        await asyncio.sleep(0)


async def test_five_hundred_at_a_time_are_all_accepted(town: Town, prober: Prober) -> None:
    results = await prober.run(many(town, 1000), parallel=500)

    assert Counter(result.outcome for result in results) == {Outcome.ACCEPTED: 1000}


async def test_five_hundred_at_a_time_are_all_accepted_while_others_want_the_processors(
    town: Town, prober: Prober
) -> None:
    with busy_processors(4):
        results = await prober.run(many(town, 1000), parallel=500)

    assert Counter(result.outcome for result in results) == {Outcome.ACCEPTED: 1000}


async def test_a_prober_that_hardly_runs_calls_nothing_timed_out(town: Town, prober: Prober) -> None:
    starved = asyncio.ensure_future(stall(4, 0.5))

    asked = [prober.ask(probe, timeout=0.3, parts=(1.0,)) for probe in many(town, 100)]  # no second packet
    results = await asyncio.gather(*asked)

    await starved
    assert Counter(result.outcome for result in results) == {Outcome.ACCEPTED: 100}


async def test_forty_pods_of_a_bridge_all_find_each_other() -> None:
    with Laboratory() as laboratory:
        node = laboratory.add_node("node-1")
        pods = [laboratory.add_pod(node, f"pod-{number}") for number in range(40)]
        async with Prober() as prober:
            for pod in pods:
                prober.listen(Listener(pod.namespace, pod.name, udp=(53,)))
            results = await prober.run(
                Probe(Endpoint(source.namespace), pod.ipv4, Transport.UDP, 53, peer=pod.name)
                for source in pods
                for pod in pods
            )

    assert Counter(result.outcome for result in results) == {Outcome.ACCEPTED: 1600}


async def test_two_thousand_probes_with_most_denied_take_a_few_seconds(town: Town, prober: Prober) -> None:
    probes = many(town, 2000)
    denied = {(Transport.TCP, 8080), (Transport.UDP, 53)}
    started = time.perf_counter()
    with (
        rules(town.nodes[0].namespace, "tcp dport 8080 drop\nudp dport 53 drop"),
        rules(town.nodes[1].namespace, "tcp dport 8080 drop\nudp dport 53 drop"),
    ):
        results = await prober.run(probes)
    took = time.perf_counter() - started

    for result in results:
        is_denied = (result.probe.transport, result.probe.port) in denied
        assert result.outcome is (Outcome.TIMED_OUT if is_denied else Outcome.ACCEPTED), result
    assert took < 10
