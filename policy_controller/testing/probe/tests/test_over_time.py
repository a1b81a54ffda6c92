"""What happens over time: changes dated by packets, connections that stay, addresses that move."""

import asyncio
import time

import pytest

from policy_controller.testing.laboratory import Laboratory
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, ProbeError, Prober, Transport
from policy_controller.testing.probe.tests.conftest import Town, rules

pytestmark = pytest.mark.packets

ONE_PACKET = (1.0,)
"""No retransmission that would hide a loss."""


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP, Transport.SCTP])
async def test_a_watch_dates_the_change_of_a_verdict(
    town: Town, prober: Prober, transport: Transport
) -> None:
    source, destination = town.far
    port = {Transport.TCP: 80, Transport.UDP: 53, Transport.SCTP: 9999}[transport]
    probe = Probe(Endpoint(source.namespace), destination.ipv4, transport, port)

    async with prober.watch(probe, every_ms=5) as watch:
        await watch.changed_to(Outcome.ACCEPTED, since=0.0, within=5)
        with rules(town.nodes[0].namespace, f"ip daddr {destination.ipv4} drop"):
            closed_at = time.monotonic()
            denied = await watch.changed_to(Outcome.TIMED_OUT, since=0.0, within=5)
            opened_from = time.monotonic()
        opened_at = time.monotonic()
        allowed = await watch.changed_to(Outcome.ACCEPTED, since=opened_from, within=5)

    assert denied.sent_at - closed_at < 0.2
    assert allowed.sent_at - opened_at < 0.2
    before = [result for result in watch.results if result.sent_at < denied.sent_at]
    assert {result.outcome for result in before} == {Outcome.ACCEPTED}


async def test_a_watch_says_what_it_saw_when_nothing_changes(town: Town, prober: Prober) -> None:
    source, destination = town.near
    async with prober.watch(Probe(Endpoint(source.namespace), destination.ipv4, Transport.TCP, 80)) as watch:
        with pytest.raises(ProbeError, match="last seen: accepted"):
            await watch.changed_to(Outcome.TIMED_OUT, since=time.monotonic(), within=0.2)


async def test_a_conversation_goes_on_falls_silent_and_recovers(town: Town, prober: Prober) -> None:
    source, destination = town.far
    with await prober.converse(Endpoint(source.namespace), destination.ipv6, 80) as conversation:
        first = await conversation.exchange()
        with rules(town.nodes[0].namespace, "ct state established accept\ntcp dport 80 drop"):
            established = await conversation.exchange()
        with rules(town.nodes[0].namespace, f"tcp sport {conversation.source_port} drop"):
            cut = await conversation.exchange(within=0.3)
        again = await conversation.exchange(within=3)

    assert (first.outcome, first.peer) == (Outcome.ACCEPTED, destination.name)
    assert established.outcome is Outcome.ACCEPTED
    assert cut.outcome is Outcome.TIMED_OUT
    assert again.outcome is Outcome.ACCEPTED


async def test_a_conversation_ends_when_its_listener_does(town: Town, prober: Prober) -> None:
    source, destination = town.far
    listening = prober.listen(Listener(destination.namespace, "short-lived", tcp=(6000,)))
    conversation = await prober.converse(Endpoint(source.namespace), destination.ipv4, 6000)

    listening.close()

    assert (await conversation.exchange()).outcome is Outcome.REFUSED
    with pytest.raises(ProbeError, match="refused"):
        await prober.converse(Endpoint(source.namespace), destination.ipv4, 6000)


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("moved", ["both addresses", "one address"])
async def test_the_first_packet_to_an_address_that_moved_reaches_its_new_pod(family: int, moved: str) -> None:
    with Laboratory() as laboratory:
        node, other = laboratory.add_node("node-1"), laboratory.add_node("node-2")
        near, far = laboratory.add_pod(node, "near"), laboratory.add_pod(other, "far")
        pod = laboratory.add_pod(node, "first")
        address = pod.addresses[family]
        async with Prober() as prober:
            listening = prober.listen(Listener(pod.namespace, "first", (80,), (53,), (9999,)))
            asked = [
                Probe(Endpoint(source), address, transport, port)
                for source in (near.namespace, far.namespace, node.namespace)
                for transport, port in ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 9999))
            ]
            before = {result.peer for result in await prober.run(asked)}

            listening.close()
            laboratory.remove_pod(pod)
            addresses = pod.addresses if moved == "both addresses" else (address,)
            successor = laboratory.add_pod(node, "second", addresses)
            prober.listen(Listener(successor.namespace, "second", (80,), (53,), (9999,)))
            results = await asyncio.gather(*(prober.ask(probe, parts=ONE_PACKET) for probe in asked))

    assert before == {"first"}
    assert {(result.outcome, result.peer) for result in results} == {(Outcome.ACCEPTED, "second")}


async def test_the_first_packet_to_a_new_pod_arrives() -> None:
    with Laboratory() as laboratory:
        node, other = laboratory.add_node("node-1"), laboratory.add_node("node-2")
        sources = [node.namespace, other.namespace]
        async with Prober() as prober:
            for number in range(20):
                pod = laboratory.add_pod((node, other)[number % 2], f"pod-{number}")
                prober.listen(Listener(pod.namespace, pod.name, udp=(53,)))
                asked = [
                    Probe(Endpoint(source), address, Transport.UDP, 53, peer=pod.name)
                    for source in sources
                    for address in pod.addresses
                ]
                results = await asyncio.gather(*(prober.ask(probe, parts=ONE_PACKET) for probe in asked))
                assert {result.outcome for result in results} == {Outcome.ACCEPTED}, number
                sources.append(pod.namespace)


async def test_a_pod_that_is_gone_does_not_answer() -> None:
    with Laboratory() as laboratory:
        node = laboratory.add_node("node-1")
        near, pod = laboratory.add_pod(node, "near"), laboratory.add_pod(node, "pod")
        async with Prober() as prober:
            prober.listen(Listener(pod.namespace, "pod", tcp=(80,)))
            probe = Probe(Endpoint(near.namespace), pod.ipv4, Transport.TCP, 80)
            assert (await prober.ask(probe)).outcome is Outcome.ACCEPTED
            laboratory.remove_pod(pod)
            assert (await prober.ask(probe)).outcome in {Outcome.TIMED_OUT, Outcome.UNREACHABLE}


async def test_two_laboratories_with_the_same_addresses_do_not_meet() -> None:
    with Laboratory() as first, Laboratory() as second:
        async with Prober() as prober:
            asked = []
            for laboratory in (first, second):
                node = laboratory.add_node("node-1")
                source, pod = laboratory.add_pod(node, "source"), laboratory.add_pod(node, "web")
                identity = f"web-of-{laboratory.name}"
                prober.listen(Listener(pod.namespace, identity, (80,), (53,), (9999,)))
                for transport, port in ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 9999)):
                    asked.append(Probe(Endpoint(source.namespace), pod.ipv4, transport, port, peer=identity))

            results = await asyncio.wait_for(prober.run(asked), 10)

    assert len({result.probe.destination for result in results}) == 1
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
