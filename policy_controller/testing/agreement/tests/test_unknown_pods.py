"""A new pod before its address is told, with packets: closed where that direction's slot is closed, open otherwise."""

import asyncio
import socket
import struct
from collections.abc import Iterable

import pytest

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.tests.stage import PODS, changed, cluster, labels, policy
from compilers.model.cluster import Pod
from compilers.model.words import Address, Direction
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.handmade import link_to
from policy_controller.testing.laboratory import inside
from policy_controller.testing.probe import Endpoint, Outcome, Probe, Transport
from policy_controller.testing.probe.sockets import family_of, open_socket

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
CLOSED = policy("shop/closed", labels("app=db"), ingress=[], egress=[])
BOUND = cluster(CLOSED, pods=changed("shop/db", addresses=()))
"""shop/db is bound to node-a, isolated in both directions, and has an address that nobody has told yet."""

SLOTS = {
    "open": frozenset[Direction](),
    "ingress": frozenset({Direction.INGRESS}),
    "egress": frozenset({Direction.EGRESS}),
    "both": frozenset(Direction),
}
each_slot = pytest.mark.parametrize("closed", SLOTS.values(), ids=SLOTS.keys())


def probes(stage: Stage, source: Iterable[Address], destination: Iterable[Address]) -> list[Probe]:
    return [
        Probe(stage.endpoint(here), there, transport, port)
        for here, there in zip(source, destination, strict=True)
        for transport, port in (
            (Transport.TCP, 80),
            (Transport.UDP, 53),
            (Transport.SCTP, 80),
            (Transport.ICMP, None),
        )
    ]


async def passes(stage: Stage, source: Iterable[Address], destination: Iterable[Address]) -> bool:
    """Whether every first packet passes; all must fare alike."""
    outcomes = {result.outcome for result in await stage.prober.run(probes(stage, source, destination))}
    assert outcomes in ({Outcome.ACCEPTED}, {Outcome.TIMED_OUT})
    return outcomes == {Outcome.ACCEPTED}


@each_slot
async def test_an_unknown_pod_is_closed_in_the_directions_that_are_closed(
    stage: Stage, closed: frozenset[Direction]
) -> None:
    waiting = compile_nodes(BOUND)["node-a"]
    assert all([pod.name for pod in waiting.waiting(direction)] == ["db"] for direction in Direction)
    await stage.hold(stage.tables(BOUND, closed))
    node = stage.node("node-a")
    near = stage.laboratory.near_addresses(node)

    inward = [passes(stage, source.addresses, DB.addresses) for source in (WEB, API, FAR_WEB)]
    outward = [
        passes(stage, DB.addresses, destination)
        for destination in (WEB.addresses, API.addresses, node.addresses, near)
    ]
    assert set(await asyncio.gather(*inward)) == {Direction.INGRESS not in closed}
    assert set(await asyncio.gather(*outward)) == {Direction.EGRESS not in closed}


@each_slot
async def test_known_pods_are_not_hit(stage: Stage, closed: frozenset[Direction]) -> None:
    await stage.hold(stage.tables(BOUND, closed))
    other = stage.node("node-b").addresses

    for source, destination in ((WEB, SCRAPER), (WEB, API), (FAR_WEB, SCRAPER)):
        assert await passes(stage, source.addresses, destination.addresses)
    assert await passes(stage, WEB.addresses, stage.node("node-a").addresses)
    assert await passes(stage, other, WEB.addresses)


@each_slot
async def test_traffic_of_the_node_itself_is_never_hit(stage: Stage, closed: frozenset[Direction]) -> None:
    await stage.hold(stage.tables(BOUND, closed))
    node, other = stage.node("node-a"), stage.node("node-b")

    assert await passes(stage, node.addresses, other.addresses)
    assert await passes(stage, other.addresses, node.addresses)
    assert await passes(stage, node.addresses, node.addresses)
    assert await passes(stage, node.addresses, stage.laboratory.near_addresses(node))
    # Its own pods, known or not: probes of the kubelet come before the address has been told.
    kubelet = Endpoint(node.namespace)
    results = await stage.prober.run(
        Probe(kubelet, address, Transport.TCP, 80) for pod in (WEB, DB) for address in pod.addresses
    )
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


@pytest.mark.parametrize(("family", "group"), [(0, "239.1.1.1"), (1, "ff05::1:1")], ids=["IPv4", "IPv6"])
async def test_the_nodes_own_multicast_comes_back_to_it(stage: Stage, family: int, group: str) -> None:
    """The kernel hands what a node sends to a group on a pod interface back to it, as if it had come in there."""
    await stage.hold(stage.tables(BOUND, frozenset(Direction)))
    node = stage.node("node-a")
    loop = asyncio.get_running_loop()
    with inside(node.namespace):
        link = socket.if_nametoindex(link_to(stage, WEB))
    near = stage.laboratory.near_addresses(node)[family]
    version = family_of(near)
    with open_socket(node.namespace, version, socket.SOCK_DGRAM) as opened:
        if version == socket.AF_INET:
            member = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), link)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        else:
            member = struct.pack("=16sI", socket.inet_pton(version, group), link)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        opened.bind(("", 5353))
        with open_socket(node.namespace, version, socket.SOCK_DGRAM) as speaking:
            if version == socket.AF_INET:
                speaking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
            else:
                speaking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
            speaking.bind((str(near), 0))
            await loop.sock_sendto(speaking, b"to all", (group, 5353))
            async with asyncio.timeout(2):
                assert await loop.sock_recv(opened, 100) == b"to all"


async def test_a_pod_is_judged_by_its_own_policies_once_its_address_is_known(stage: Stage) -> None:
    await stage.hold(stage.tables(cluster(CLOSED), frozenset(Direction)))
    assert not await passes(stage, WEB.addresses, DB.addresses)
    opened = cluster(policy("shop/closed", labels("app=db"), egress=[]))
    await stage.hold(stage.tables(opened, frozenset(Direction)))
    assert await passes(stage, WEB.addresses, DB.addresses)
    assert not await passes(stage, DB.addresses, WEB.addresses)


async def test_an_address_of_the_pod_network_that_a_known_pod_left_is_unknown(stage: Stage) -> None:
    """The known addresses follow the state, so a departed pod's address is closed like one never told."""
    left = cluster(CLOSED, pods=_without(SCRAPER))
    await stage.hold(stage.tables(left, frozenset({Direction.INGRESS})))
    assert not await passes(stage, WEB.addresses, SCRAPER.addresses)
    assert await passes(stage, SCRAPER.addresses, WEB.addresses)


def _without(gone: Pod) -> Iterable[Pod]:
    return (pod for pod in PODS if pod is not gone)
