"""The doors beside the gates, with packets: shut with our rules, and open when just those rules are taken away."""

import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.evaluate.tests.stage import PODS, cluster, labels, policy
from compilers.model.cluster import Pod
from compilers.model.words import Address
from compilers.nftables.render import FRAMES_SLOT, LINK_LOCAL_SLOT, TO_MANY_SLOT, Tables
from compilers.nftables.table import Table
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import WAYS, Record, command, on
from policy_controller.testing.laboratory import inside
from policy_controller.testing.probe import DOT1AD, Endpoint, Outcome, Probe, Tag, Transport, UdpFrame
from policy_controller.testing.probe.sockets import open_socket

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
STATE = cluster(
    policy("shop/in", labels("app=db"), ingress=[]),
    policy("shop/out", labels("app=web"), egress=[]),
)
"""Of node-a's pods db may be reached by nobody and web may reach nobody; scraper is isolated in no direction."""


EXPECTED = {"shut": Outcome.TIMED_OUT, "open": Outcome.ACCEPTED}


def without(tables: Mapping[str, Tables], *slots: str) -> Mapping[str, Tables]:
    """The same tables but for the rules in these chains."""

    def emptied(table: Table) -> Table:
        chains = (replace(chain, rules=()) if chain.name in slots else chain for chain in table.chains)
        return replace(table, chains=tuple(chains))

    without_it = {name: Tables(emptied(both.inet), emptied(both.bridge)) for name, both in tables.items()}
    assert without_it["node-a"] != tables["node-a"], f"{slots} hold no rules that could be taken away"
    return without_it


async def stand(stage: Stage, door: str, *slots: str) -> None:
    """Have the kernels hold the state, with its door as it should be or without the door's rules."""
    shut = stage.tables(STATE)
    await stage.hold(shut if door == "shut" else without(shut, *slots))


def ipv6(pod: Pod) -> Address:
    return next(address for address in pod.addresses if address.version == 6)


def linked(stage: Stage, pod: Pod) -> Address:
    """The pod's fe80:: address, as its neighbours on the bridge write it."""
    return stage.pod_at(ipv6(pod)).link_local


def on_bridge(stage: Stage) -> dict[str, tuple[Endpoint, Address]]:
    """Ways around a gate of node-a: from where, and to which address."""
    places = {pod.name: stage.endpoint(ipv6(pod)).namespace for pod in (WEB, DB, SCRAPER)}
    return {
        "to a pod that nobody may reach": (Endpoint(places["scraper"]), linked(stage, DB)),
        "from a pod that may reach nobody": (Endpoint(places["web"]), linked(stage, SCRAPER)),
        "from a pod that may reach nobody to its own node": (
            Endpoint(places["web"]),
            stage.node("node-a").link_local,
        ),
        "link-local source, known destination": (
            Endpoint(places["web"], linked(stage, WEB)),
            ipv6(SCRAPER),
        ),
        "known source, link-local destination": (
            Endpoint(places["scraper"], ipv6(SCRAPER)),
            linked(stage, DB),
        ),
        "link-local source to the node's address on the bridge": (
            Endpoint(places["web"], linked(stage, WEB)),
            stage.node("node-a").gateways[1],
        ),
    }


@pytest.mark.parametrize("door", EXPECTED)
async def test_the_link_local_door(stage: Stage, door: str, record_property: Record) -> None:
    # RFC 4291, 2.8: every interface has an fe80:: address; no API object tells it, so no gate can name it.
    # No route of the node leads to a pod's fe80:: address, so what shuts out addresses that are no pod's shuts it too.
    await stand(stage, door, LINK_LOCAL_SLOT, TO_MANY_SLOT)
    ways = on_bridge(stage)
    asked = [
        (name, transport, Probe(*way, transport, port))
        for name, way in ways.items()
        for transport, port in ((Transport.TCP, 80), (Transport.UDP, 53))
    ]

    results = await stage.prober.run(probe for *_, probe in asked)

    found = {
        (name, transport): result.outcome for (name, transport, _), result in zip(asked, results, strict=True)
    }
    assert found == {(name, transport): EXPECTED[door] for name, transport, _ in asked}
    if door == "shut":
        record_property(on(stage, WAYS), len(asked))


async def test_the_link_local_door_of_a_node_without_isolated_pods_stands_open(stage: Stage) -> None:
    await stage.enforce(cluster(policy("shop/in", labels("app=api"), ingress=[])))
    ways = on_bridge(stage)

    results = await stage.prober.run(Probe(*way, Transport.TCP, 80) for way in ways.values())

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


async def test_listener_discovery_passes_the_shut_link_local_door(stage: Stage) -> None:
    # RFC 3810, 5.2.13: reports come from an fe80:: address. Without snooping a bridge hands them to every port.
    bridge, group = stage.node("node-a").namespace, ip_address("ff05::77")
    here, there = stage.pod_at(ipv6(WEB)), stage.pod_at(ipv6(SCRAPER))
    await stand(stage, "shut", LINK_LOCAL_SLOT)
    command(bridge, "ip", "link", "set", "cni0", "type", "bridge", "mcast_snooping", "0")
    try:
        with (
            stage.prober.capture(there.namespace, there.interface) as capture,
            open_socket(here.namespace, socket.AF_INET6, socket.SOCK_DGRAM) as listening,
        ):
            with inside(here.namespace):
                member = group.packed + struct.pack("=I", socket.if_nametoindex(here.interface))
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            # The group is named in the payload of the report and nowhere in its header.
            assert await capture.frame_with(group.packed, within=3.0)
    finally:
        command(bridge, "ip", "link", "set", "cni0", "type", "bridge", "mcast_snooping", "1")


TAGS = {"VLAN 0": (Tag(0),), "VLAN 7": (Tag(7),), "QinQ": (Tag(0, DOT1AD), Tag(0))}
PPPOE = "PPPoE session"
PPPOE_ETHER = 0x8864
PPP_PROTOCOL = {4: 0x0021, 6: 0x0057}


def frame(stage: Stage, source: Pod, destination: Pod, family: int, kind: str, payload: bytes) -> bytes:
    """A UDP datagram in a frame that is no plain IP frame."""
    ends = source.addresses[family], destination.addresses[family]
    here, there = map(stage.pod_at, ends)
    made = UdpFrame(here.mac, there.mac, *ends, 4000, 53, payload, TAGS.get(kind, ())).to_bytes()
    if kind != PPPOE:
        return made
    packet = made[14:]
    # RFC 2516, 4: version and type 1, code 0 (session data), a session, the length with PPP's own protocol number.
    header = struct.pack("!HBBHHH", PPPOE_ETHER, 0x11, 0, 1, len(packet) + 2, PPP_PROTOCOL[ends[0].version])
    return made[:12] + header + packet


async def arrives(stage: Stage, source: Pod, destination: Pod, family: int, kind: str) -> bool:
    """Whether a frame comes in at the destination."""
    payload = secrets.token_bytes(12)
    here, there = (stage.pod_at(pod.addresses[family]) for pod in (source, destination))
    with stage.prober.capture(there.namespace, there.interface) as capture:
        stage.prober.send_frame(
            here.namespace, here.interface, frame(stage, source, destination, family, kind, payload)
        )
        return await capture.frame_with(payload, within=0.5) is not None


@pytest.mark.parametrize("door", EXPECTED)
@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("kind", [*TAGS, PPPOE])
async def test_the_door_for_frames_that_no_ip_hook_sees(
    stage: Stage, kind: str, family: int, door: str, record_property: Record
) -> None:
    # br_netfilter shows the IP hooks plain IPv4 and IPv6 frames only, while a pod's kernel takes a priority tag off.
    await stand(stage, door, FRAMES_SLOT)

    found = [
        await arrives(stage, source, destination, family, kind)
        for source, destination in ((SCRAPER, DB), (WEB, SCRAPER))
    ]

    assert found == [door == "open"] * 2
    if door == "shut":
        record_property(on(stage, WAYS), len(found))


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
async def test_plain_frames_are_judged_by_the_gates_alone(stage: Stage, family: int) -> None:
    await stage.enforce(STATE)

    assert not await arrives(stage, SCRAPER, DB, family, "plain")
    assert not await arrives(stage, WEB, SCRAPER, family, "plain")
    assert await arrives(stage, SCRAPER, WEB, family, "plain")


async def test_a_listener_answers_a_priority_tagged_frame_where_the_door_is_open(stage: Stage) -> None:
    """The leak is a real one: what comes in is understood, and the answer comes back."""
    for door in ("shut", "open"):
        await stand(stage, door, FRAMES_SLOT)
        here, payload = stage.pod_at(SCRAPER.addresses[0]), secrets.token_hex(6).encode()
        with stage.prober.capture(here.namespace, here.interface) as capture:
            stage.prober.send_frame(
                here.namespace, here.interface, frame(stage, SCRAPER, DB, 0, "VLAN 0", payload)
            )
            answer = await capture.frame_with(b" " + payload, within=0.5)
        assert (answer is not None) is (door == "open")
