"""Packets in pieces, or whose port stands behind other headers: judged by the port they have once put together.

On every pod network, between neighbours and between nodes. What the kernel does not put together passes no gate.
"""

import asyncio
import itertools
import secrets
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Final

import pytest

from compilers.evaluate.tests.stage import PODS, cluster, labels, pods, policy, rule
from compilers.model.cluster import Cluster, Pod
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.places import pod_places
from policy_controller.testing.agreement.tests.handmade import (
    ETHERNET,
    MAC,
    WITHIN,
    Attempt,
    arrivals,
    some_payload,
)
from policy_controller.testing.agreement.tests.scene import BASE, WAYS, Record, command, on
from policy_controller.testing.examples import NODES
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import UdpFrame
from policy_controller.testing.probe.sockets import family_of, open_socket, socket_address

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, _, _ = PODS
SERVERS: Final = {"a neighbour": DB, "a pod of another node": API}
OPEN, SHUT = 7000, 7001
"""UDP ports; nobody of the stage listens on either."""
STATE: Cluster = cluster(
    policy("shop/closed", EVERYTHING, ingress=[], egress=[]),
    policy("shop/out", labels("app=web"), egress=[rule([pods("")], [f"UDP {OPEN}"])]),
    policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web")], [f"UDP {OPEN}"])]),
)
LARGE: Final = 4000
"""Bytes of a datagram that takes three packets on every network."""
LONG: Final = 5.0
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])

UDP, FRAGMENT, OPTIONS = 17, 44, 60
"""IP protocol numbers; OPTIONS is IPv6's destination options."""
HOPS: Final = 64
UNIT: Final = 8
"""Bytes in which a fragment's offset counts."""
MORE: Final = 1


@FAMILIES
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_a_datagram_in_fragments_is_judged_as_one_and_so_is_the_answer(
    stage: Stage, server: Pod, family: int
) -> None:
    loop = asyncio.get_running_loop()
    await stage.enforce(STATE)
    here, there = WEB.addresses[family], server.addresses[family]

    def opened(address: Address, port: int) -> socket.socket:
        made = open_socket(stage.endpoint(address).namespace, family_of(address), socket.SOCK_DGRAM)
        made.bind(socket_address(address, port))
        return made

    with opened(here, OPEN) as client, opened(there, OPEN) as admitted, opened(there, SHUT) as refused:
        question, answer = secrets.token_bytes(LARGE), secrets.token_bytes(LARGE)
        async with asyncio.timeout(LONG):
            for port in (SHUT, OPEN):
                await loop.sock_sendto(client, question, socket_address(there, port))
            assert await loop.sock_recv(admitted, 2 * LARGE) == question
            await loop.sock_sendto(admitted, answer, socket_address(here, OPEN))
            assert await loop.sock_recv(client, 2 * LARGE) == answer
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(WITHIN):
                await loop.sock_recv(refused, 2 * LARGE)


def datagram(source: Address, destination: Address, port: int, payload: bytes) -> bytes:
    """UDP header and payload."""
    whole = UdpFrame(MAC, MAC, source, destination, 4000, port, payload).to_bytes()
    return whole[ETHERNET + (20 if source.version == 4 else 40) :]


def packet(source: Address, destination: Address, protocol: int, content: bytes) -> bytes:
    """An IPv6 packet, whatever its content is."""
    header = struct.pack("!IHBB", 0x60000000, len(content), protocol, HOPS)
    return header + source.packed + destination.packed + content


def fragment(ends: tuple[Address, Address], identity: int, offset: int, more: int, content: bytes) -> bytes:
    """One piece, `offset` bytes behind the start; a first one may begin with other headers than UDP's."""
    source, destination = ends
    protocol = UDP
    if source.version == 4:
        # A packet of a raw socket gets its checksum from the kernel.
        place = (more << 13) | (offset // UNIT)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), identity, place, HOPS, protocol, 0)
        return header + source.packed + destination.packed + content
    head = struct.pack("!BBHI", protocol, 0, offset | more, identity)
    return packet(source, destination, FRAGMENT, head + content)


def in_two(ends: tuple[Address, Address], port: int, first: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """A datagram cut between two payloads."""
    whole, cut = datagram(*ends, port, first + rest), UNIT + len(first)
    identity = 1 + secrets.randbelow(0xFFFE)
    return fragment(ends, identity, 0, MORE, whole[:cut]), fragment(ends, identity, cut, 0, whole[cut:])


def ways(stage: Stage, server: Pod, family: int, port: int) -> Iterator[tuple[str, Attempt]]:
    """Packets of web to a port of the server, each in the pieces that its name says, told apart by their payloads."""
    ends = WEB.addresses[family], server.addresses[family]
    sender, receiver = (stage.endpoint(end).namespace for end in ends)

    def payload() -> bytes:
        chosen = some_payload()
        return chosen + bytes(-len(chosen) % UNIT)

    first, rest = payload(), payload()
    one, two = in_two(ends, port, first, rest)
    yield "in two, the first", Attempt(sender, one, receiver, first)
    yield "in two, the rest", Attempt(sender, two, receiver, rest)
    first, rest = payload(), payload()
    one, two = in_two(ends, port, first, rest)
    yield "the rest first", Attempt(sender, two, receiver, rest)
    yield "the first last", Attempt(sender, one, receiver, first)
    if isinstance(ends[0], IPv6Address):
        content = payload()
        # RFC 8200, 4.6: next header, length beyond the first eight bytes, and padding by PadN.
        options = struct.pack("!BBBB", UDP, 0, 1, 4) + bytes(4)
        behind = packet(*ends, OPTIONS, options + datagram(*ends, port, content))
        yield "behind options", Attempt(sender, behind, receiver, content)


def broken(stage: Stage, server: Pod, family: int) -> Iterator[tuple[str, Attempt]]:
    """Pieces that make no datagram, or two."""
    ends = WEB.addresses[family], server.addresses[family]
    sender, receiver = (stage.endpoint(end).namespace for end in ends)
    rest = some_payload()
    _, alone = in_two(ends, OPEN, bytes(UNIT), rest)
    yield "without a first", Attempt(sender, alone, receiver, rest)
    content, identity = some_payload(), 1 + secrets.randbelow(0xFFFE)
    admitted = datagram(*ends, OPEN, bytes(2 * UNIT))
    instead = datagram(*ends, SHUT, content + bytes(4))
    over = fragment(ends, identity, 0, MORE, admitted[: 2 * UNIT])
    yield "written over, the admitted", Attempt(sender, over, receiver, content)
    yield (
        "written over, the other",
        Attempt(sender, fragment(ends, identity, 0, 0, instead), receiver, content),
    )


@FAMILIES
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_a_packet_is_judged_by_the_port_it_has_once_it_is_put_together(
    stage: Stage, server: Pod, family: int, record_property: Record
) -> None:
    await stage.enforce(STATE)
    admitted, refused = (dict(ways(stage, server, family, port)) for port in (OPEN, SHUT))

    assert await arrivals(stage, admitted) == set(admitted)
    assert await arrivals(stage, refused) == set()

    await stage.enforce(cluster())
    again = dict(ways(stage, server, family, SHUT))
    assert await arrivals(stage, again) == set(again)
    record_property(on(stage, WAYS), len(refused))


@FAMILIES
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_pieces_that_make_no_packet_pass_no_gate(
    stage: Stage, server: Pod, family: int, record_property: Record
) -> None:
    await stage.enforce(STATE)
    attempts = dict(broken(stage, server, family))

    assert await arrivals(stage, attempts) == set()
    record_property(on(stage, WAYS), len(attempts))


async def test_pieces_that_make_no_packet_arrive_where_nobody_puts_them_together(
    network: NetworkKind,
) -> None:
    """What the test above tries is seen where there are no gates: without them no connections are tracked."""
    async with Stage(BASE, NODES, pod_places([cluster()]), (), network) as ungated:
        for node in ungated.laboratory.nodes.values():
            command(node.namespace, "nft", "flush", "ruleset")
        for server, family in itertools.product(SERVERS.values(), (0, 1)):
            attempts = dict(broken(ungated, server, family))
            assert await arrivals(ungated, attempts) == set(attempts)
