"""Each kind of pod network carries what pods say, in the way that its model does."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from policy_controller.testing.laboratory import Laboratory, NetworkKind, Node, OutsideHost, Pod
from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.vxlan import MTU
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport
from policy_controller.testing.probe.sockets import open_socket, socket_address

pytestmark = pytest.mark.packets

WHOLE = 1500
"""Bytes of the largest packet that a link takes where nothing is wrapped around it."""
MTU_OF = {NetworkKind.BRIDGE: WHOLE, NetworkKind.VXLAN: MTU, NetworkKind.ROUTED: WHOLE}
# linux/in.h and linux/in6.h; Python has no words for these.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU = 10, 2, 14, 23, 24
ETHERNET, UDP_HEADER = 14, 8
SERVICES = ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 99), (Transport.ICMP, None))


@dataclass(frozen=True, slots=True)
class Town:
    """Two nodes, two pods on each and a host outside, all of whom answer."""

    kind: NetworkKind
    laboratory: Laboratory
    prober: Prober
    nodes: tuple[Node, Node]
    pods: tuple[Pod, ...]

    def ends(self) -> list[tuple[str, tuple[Address, ...]]]:
        """Namespace and addresses of everybody."""
        inhabitants: tuple[Pod | Node | OutsideHost, ...] = (
            *self.pods,
            *self.nodes,
            *self.laboratory.outside.values(),
        )
        return [(one.namespace, one.addresses) for one in inhabitants]


@pytest_asyncio.fixture(params=NetworkKind, ids=lambda kind: kind.value)
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    with Laboratory(network=request.param) as laboratory:
        near, far = laboratory.add_node("near"), laboratory.add_node("far")
        pods = tuple(
            laboratory.add_pod(node, f"{node.name}-{number}") for node in (near, far) for number in range(2)
        )
        laboratory.add_outside("outside")
        async with Prober() as prober:
            town = Town(request.param, laboratory, prober, (near, far), pods)
            for namespace, _ in town.ends():
                prober.listen(Listener(namespace, namespace, (80,), (53,), (99,)))
            yield town


async def test_everybody_reaches_everybody_by_every_protocol_and_family(town: Town) -> None:
    probes = [
        Probe(Endpoint(namespace, source), destination, transport, port)
        for namespace, sources in town.ends()
        for _, destinations in town.ends()
        for source, destination in zip(sources, destinations, strict=True)
        for transport, port in SERVICES
        if source != destination
    ]

    results = await town.prober.run(probes)

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len(results) == 7 * 6 * 2 * len(SERVICES)


async def test_a_node_comes_to_pods_of_other_nodes_with_its_far_addresses(town: Town) -> None:
    _, far = town.nodes
    for index, address in enumerate(town.laboratory.far_addresses(far)):
        pod = town.pods[0]

        def chosen(destination: Address = pod.addresses[index]) -> str:
            """The source that the kernel takes when nobody names one."""
            family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((str(destination), 9))
                return str(asking.getsockname()[0])

        assert town.laboratory.run_in(far.namespace, chosen) == str(address)
        (result,) = await town.prober.run(
            [Probe(Endpoint(far.namespace, address), pod.addresses[index], Transport.TCP, 80)]
        )
        assert result.outcome is Outcome.ACCEPTED


async def test_a_pod_that_takes_over_an_address_is_reached_at_once_from_near_and_far(town: Town) -> None:
    first = town.pods[0]
    askers = town.pods[1:3]
    probes = [
        Probe(Endpoint(asker.namespace, source), address, Transport.TCP, 80)
        for asker in askers
        for source, address in zip(asker.addresses, first.addresses, strict=True)
    ]
    assert {result.outcome for result in await town.prober.run(probes)} == {Outcome.ACCEPTED}

    town.laboratory.remove_pod(first)
    second = town.laboratory.add_pod(first.node, "heir", first.addresses)
    town.prober.listen(Listener(second.namespace, "heir", (80,), (53,), (99,)))
    results = await town.prober.run(probes)

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


async def test_packets_between_nodes_travel_as_the_network_has_it(town: Town) -> None:
    """In UDP to the tunnels' port with VXLAN, as themselves with routes."""
    near, far = town.nodes
    source, destination = town.pods[0], town.pods[2]
    tunnelled = town.laboratory.far_addresses(near) != near.addresses
    with town.prober.capture(far.namespace, "eth0") as capture:
        await town.prober.run(
            [Probe(Endpoint(source.namespace, source.ipv4), destination.ipv4, Transport.TCP, 80)]
        )
        outer = near.ipv4.packed + far.ipv4.packed
        inner = source.ipv4.packed + destination.ipv4.packed
        frame = await capture.frame_with(inner, within=2.0)

    assert frame is not None
    assert (outer in frame) is tunnelled
    assert ((8472).to_bytes(2, "big") in frame[: frame.index(inner)]) is tunnelled


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
async def test_the_largest_packet_of_a_pod_comes_to_other_nodes_in_one_frame(town: Town, family: int) -> None:
    """With VXLAN the headers of the tunnel fit around it, also IPv6's around IPv6; one byte more the pod cannot send."""
    kind, far = town.kind, town.nodes[1]
    source, destination = (
        pod.ipv4 if family == socket.AF_INET else pod.ipv6 for pod in (town.pods[0], town.pods[2])
    )
    level, discover, mtu = (
        (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU)
        if family == socket.AF_INET
        else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU)
    )
    headers = UDP_HEADER + (20 if family == socket.AF_INET else 40)
    content = secrets.token_bytes(MTU_OF[kind] - headers)

    with open_socket(town.pods[0].namespace, family, socket.SOCK_DGRAM) as sending:
        sending.setsockopt(level, discover, IP_PMTUDISC_DO)
        sending.bind(socket_address(source, 0))
        sending.connect(socket_address(destination, 53))
        assert sending.getsockopt(level, mtu) == MTU_OF[kind]
        with town.prober.capture(far.namespace, "eth0") as capture:
            await asyncio.get_running_loop().sock_sendall(sending, content)
            frame = await capture.frame_with(content, within=2.0)
        with pytest.raises(OSError, match="Message too long"):
            sending.send(content + b"+")

    assert frame is not None
    assert len(frame) <= ETHERNET + WHOLE
