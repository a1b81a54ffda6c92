"""Without any rule everyone reaches everyone, by every transport and family, and knows who answered."""

from ipaddress import IPv6Address

import pytest

from policy_controller.testing.laboratory import Address, Laboratory, Masquerade
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport
from policy_controller.testing.probe.tests.conftest import Town

pytestmark = pytest.mark.packets

OPEN = ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 9999), (Transport.ICMP, None))
SOURCE_ADDRESS = slice(26, 30)
CLOSED = ((Transport.TCP, 81), (Transport.UDP, 81), (Transport.SCTP, 81))


async def test_everyone_reaches_everyone_and_learns_who_it_was(town: Town, prober: Prober) -> None:
    sources = [*(pod.namespace for pod in town.pods), *(node.namespace for node in town.nodes)]
    destinations: list[tuple[str, tuple[Address, ...]]] = [(pod.name, pod.addresses) for pod in town.pods]
    destinations.append((town.outside.name, town.outside.addresses))
    probes = [
        Probe(Endpoint(source), address, transport, port)
        for source in (*sources, town.outside.namespace)
        for name, addresses in destinations
        for address in addresses
        for transport, port in OPEN
        if source != town.outside.namespace or name != town.outside.name
    ]
    name_of = {address: name for name, addresses in destinations for address in addresses}

    results = await prober.run(probes)

    assert [result for result in results if result.outcome is not Outcome.ACCEPTED] == []
    for result in results:
        expected = None if result.probe.transport is Transport.ICMP else name_of[result.probe.destination]
        assert result.peer == expected
        assert (result.connected_ms is not None) == (result.probe.transport is Transport.TCP)
        assert (result.connected_ms or 0) <= result.elapsed_ms


async def test_a_closed_port_refuses(town: Town, prober: Prober) -> None:
    probes = [
        Probe(Endpoint(source.namespace), address, transport, port)
        for source in (*town.far, town.outside)
        for pod in town.pods
        for address in pod.addresses
        for transport, port in CLOSED
    ]

    results = await prober.run(probes * 10)  # more than the kernel's limit on ICMP would let through

    assert {result.outcome for result in results} == {Outcome.REFUSED}


async def test_a_namespace_without_sctp_refuses_it(town: Town) -> None:
    source, destination = town.near
    async with Prober() as prober:
        probes = [
            Probe(Endpoint(source.namespace), address, Transport.SCTP, 9999)
            for address in destination.addresses
        ]

        results = await prober.run(probes)

    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.REFUSED]


async def test_link_local_addresses_reach_pods_of_the_bridge_and_the_node(town: Town, prober: Prober) -> None:
    source, neighbour = town.near
    node = town.nodes[0]
    prober.listen(
        Listener(node.namespace, "the-node", (8000,), (8000,), (8000,), (_on(node.link_local, "cni0"),))
    )

    for destination, name, transport, port in (
        *((neighbour.link_local, neighbour.name, transport, port) for transport, port in OPEN),
        (node.link_local, "the-node", Transport.TCP, 8000),
        (node.link_local, "the-node", Transport.UDP, 8000),
        (node.link_local, "the-node", Transport.SCTP, 8000),
    ):
        result = await prober.ask(Probe(Endpoint(source.namespace), destination, transport, port, peer=name))
        assert result.outcome is Outcome.ACCEPTED, result
    back = _on(source.link_local, "cni0")
    result = await prober.ask(Probe(Endpoint(node.namespace), back, Transport.TCP, 80, peer=source.name))
    assert result.outcome is Outcome.ACCEPTED


async def test_a_source_address_and_port_are_the_ones_asked_for(town: Town, prober: Prober) -> None:
    outside = town.laboratory.add_outside(
        "many", [town.outside.addresses[0] + 90, town.outside.addresses[0] + 91]
    )
    destination = town.pods[1]
    for address in outside.addresses:
        for transport, port in OPEN[:3]:
            source = Endpoint(outside.namespace, address)
            probe = Probe(source, destination.ipv4, transport, port, source_port=41000)
            assert (await prober.ask(probe)).outcome is Outcome.ACCEPTED
    for transport, number in OPEN:
        stranger = Endpoint(town.pods[0].namespace, outside.addresses[0])
        result = await prober.ask(Probe(stranger, destination.ipv4, transport, number))
        assert result.outcome is not Outcome.ACCEPTED
        assert result.reason


async def test_host_network_pods_of_a_node_answer_side_by_side(town: Town, prober: Prober) -> None:
    node = town.nodes[1]
    prober.listen(Listener(node.namespace, "proxy", (7001,), (7001,), (7001,)))
    prober.listen(Listener(node.namespace, "agent", (7002,), (7002,), (7002,)))

    for transport in (Transport.TCP, Transport.UDP, Transport.SCTP):
        for port, name in ((7001, "proxy"), (7002, "agent")):
            probe = Probe(Endpoint(town.pods[0].namespace), node.ipv4, transport, port)
            assert (await prober.ask(probe)).peer == name


@pytest.mark.parametrize("masquerade", Masquerade)
async def test_masquerade_hides_pods_from_outside_hosts(masquerade: Masquerade) -> None:
    with Laboratory(masquerade=masquerade) as laboratory:
        node = laboratory.add_node("node-1")
        pod = laboratory.add_pod(node, "web")
        outside = laboratory.add_outside("beyond")
        async with Prober() as prober:
            seen = prober.capture(outside.namespace, "eth0")
            result = await prober.ask(Probe(Endpoint(pod.namespace), outside.addresses[0], Transport.UDP, 53))
            frame = await seen.frame_with(b"\x00\x35", within=1.0)

    assert result.outcome is Outcome.REFUSED
    assert frame is not None
    hidden, plain = node.ipv4.packed, pod.ipv4.packed
    assert frame[SOURCE_ADDRESS] == (hidden if masquerade is Masquerade.ON else plain)


def _on(address: IPv6Address, link: str) -> IPv6Address:
    return IPv6Address(f"{str(address).partition('%')[0]}%{link}")
