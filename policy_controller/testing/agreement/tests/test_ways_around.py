"""Ways around a gate that a pod with NET_RAW, or a host outside, could try on any pod network, with packets."""

import asyncio
import itertools
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

import pytest

from compilers.evaluate.tests.stage import OUTSIDE, PODS, cluster, labels, pods, policy, rule
from compilers.model.cluster import Pod
from compilers.model.selector import EVERYTHING
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.handmade import (
    INTERFACE,
    WITHIN,
    Attempt,
    arrivals,
    icmpv6,
    router_mac,
    some_payload,
    udp,
    unreachable,
)
from policy_controller.testing.agreement.tests.scene import WAYS, Record, command, on
from policy_controller.testing.agreement.tests.test_doors import TAGS
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import Outcome, Probe, Transport, UdpFrame

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
CLOSED = cluster(policy("shop/closed", EVERYTHING, ingress=[], egress=[]))
"""The pods of shop (web and db on node-a, api on node-b) may reach nobody and be reached by nobody; those of ops are open."""
DISCOVERY = (130, 131, 132, 133, 134, 135, 136, 137, 143)
HOP_LIMITS = (1, 2, 3, 64, 255)
EXTRA = {
    "of a network inside": ("172.17.0.1", "fd17::1"),
    "of the pod network": ("10.244.1.99", "fd10:244:1::99"),
}
"""Addresses that a pod may have beside those that the API knows: of a container runtime inside it, or by a router advertisement."""
UNQUOTED = bytes(1200)
"""Goes before a payload that is not to be known from the node's own redirect, which quotes the packet (RFC 1812, 4.3.2.3)."""
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


def namespace(stage: Stage, pod: Pod) -> str:
    return stage.pod_at(pod.addresses[0]).namespace


def ways_through_a_node(stage: Stage, kind: int, hop_limit: int) -> Iterator[tuple[str, Attempt]]:
    """An ICMPv6 message past the egress gate of web, and past the ingress gates of db and api."""
    node = stage.node("node-b")
    beyond = ip_address(OUTSIDE[1])
    ends = {
        "web to its neighbour": (WEB, SCRAPER.addresses[1], namespace(stage, SCRAPER)),
        "web to a pod of another node": (WEB, FAR_WEB.addresses[1], namespace(stage, FAR_WEB)),
        "web to another node": (WEB, node.addresses[1], node.namespace),
        "web to outside": (WEB, beyond, stage.endpoint(beyond).namespace),
        "scraper to its neighbour db": (SCRAPER, DB.addresses[1], namespace(stage, DB)),
        "scraper to api on another node": (SCRAPER, API.addresses[1], namespace(stage, API)),
    }
    for name, (source, destination, receiver) in ends.items():
        payload = some_payload()
        here = source.addresses[1]
        assert isinstance(here, IPv6Address)
        assert isinstance(destination, IPv6Address)
        packet = icmpv6(here, destination, kind, hop_limit, payload)
        yield (
            f"{name}, type {kind}, hop limit {hop_limit}",
            Attempt(namespace(stage, source), packet, receiver, payload, mac=router_mac(stage, source)),
        )


async def test_a_discovery_message_carries_nothing_past_a_gate(stage: Stage, record_property: Record) -> None:
    # RFC 4861, 6.1.1 and 7.1: neighbour discovery is valid with hop limit 255 only, so it was never routed. RFC 3810, 5:
    # listener discovery comes from a link-local address, which no router forwards.
    ways = dict(
        way
        for kind, hop_limit in itertools.product(DISCOVERY, HOP_LIMITS)
        for way in ways_through_a_node(stage, kind, hop_limit)
    )
    await stage.enforce(CLOSED)
    assert await arrivals(stage, ways) == set()
    record_property(on(stage, WAYS), len(ways))

    await stage.enforce(cluster())
    plain = dict(ways_through_a_node(stage, DISCOVERY[-1], 64))
    assert await arrivals(stage, plain) == set(plain)


@FAMILIES
async def test_a_packet_that_pretends_to_come_from_its_own_destination_is_judged(
    stage: Stage, family: int, record_property: Record
) -> None:
    # Kubernetes: "a pod cannot block access to itself". What a pod sends to itself stays inside it: no node forwards it.
    target = DB.addresses[family]
    senders = {
        "a neighbour": namespace(stage, SCRAPER),
        "a pod of another node": namespace(stage, FAR_WEB),
        "outside": stage.endpoint(ip_address(OUTSIDE[family])).namespace,
    }
    attempts = {
        name: Attempt(sender, udp(target, target, UNQUOTED + payload), namespace(stage, DB), payload)
        for name, sender in senders.items()
        for payload in (some_payload(),)
    }
    by_node = UNQUOTED + some_payload()
    attempts["a neighbour, by the node"] = Attempt(
        namespace(stage, SCRAPER),
        udp(target, target, by_node),
        namespace(stage, DB),
        by_node,
        mac=router_mac(stage, SCRAPER),
    )
    await stage.enforce(CLOSED)
    assert await arrivals(stage, attempts) == set()
    record_property(on(stage, WAYS), len(attempts))

    await stage.enforce(cluster())
    assert await arrivals(stage, attempts) == set(attempts)


@FAMILIES
async def test_a_forged_source_is_judged_as_the_one_whose_address_it_is(stage: Stage, family: int) -> None:
    """A limit: gates know a pod by its address. Its own egress policy does not hold for a pod that forges it."""
    stranger = ip_address(OUTSIDE[family])
    await stage.enforce(
        cluster(
            policy("shop/in", labels("app=db"), ingress=[rule([pods("app=web")])]),
            policy("ops/out", labels("app=scraper"), egress=[]),
        )
    )
    attempts = {
        f"as {name} to {destination.name}": Attempt(
            namespace(stage, SCRAPER),
            udp(source, destination.addresses[family], payload),
            namespace(stage, destination),
            payload,
        )
        for name, source in (
            ("itself", SCRAPER.addresses[family]),
            ("a peer of db", WEB.addresses[family]),
            ("nobody", stranger),
        )
        for destination in (DB, API)
        for payload in (some_payload(),)
    }
    assert await arrivals(stage, attempts) == {
        "as a peer of db to db",
        "as a peer of db to api",
        "as nobody to api",
    }


@FAMILIES
@pytest.mark.parametrize("kind", ["plain", *TAGS])
async def test_a_frame_to_the_node_meets_the_gates_or_goes_nowhere(
    stage: Stage, kind: str, family: int, record_property: Record
) -> None:
    # The node takes priority tags off, and routes what is inside; a frame of another VLAN is no packet to it.
    await stage.enforce(CLOSED)

    async def arrives(source: Pod, destination: Pod) -> bool:
        payload = some_payload()
        ends = source.addresses[family], destination.addresses[family]
        here, there = map(stage.pod_at, ends)
        frame = UdpFrame(here.mac, router_mac(stage, source), *ends, 4000, 53, payload, TAGS.get(kind, ()))
        with stage.prober.capture(there.namespace, INTERFACE) as capture:
            stage.prober.send_frame(here.namespace, INTERFACE, frame.to_bytes())
            return await capture.frame_with(payload, within=WITHIN) is not None

    ends = ((SCRAPER, DB), (SCRAPER, API), (WEB, SCRAPER), (SCRAPER, FAR_WEB))
    found = await asyncio.gather(*(arrives(*pair) for pair in ends))
    assert found == [False, False, False, kind != "VLAN 7"]
    record_property(on(stage, WAYS), 3)


@FAMILIES
@pytest.mark.parametrize("place", EXTRA)
async def test_an_address_inside_a_pod_is_reached_by_nobody_unless_it_is_of_the_pod_network(
    stage: Stage, family: int, place: str, network: NetworkKind
) -> None:
    """A neighbour on a bridge tries it by the pod's MAC. One of the pod network could be a new pod's: a limit."""
    extra = ip_address(EXTRA[place][family])
    inside, payload = namespace(stage, DB), some_payload()
    mac = stage.pod_at(DB.addresses[0]).mac
    packet = udp(SCRAPER.addresses[family], extra, payload)
    attempt = Attempt(namespace(stage, SCRAPER), packet, inside, payload, mac=mac)
    command(inside, "ip", "address", "add", f"{extra}/{extra.max_prefixlen}", "dev", "lo")
    await stage.enforce(CLOSED)
    found = await arrivals(stage, {"extra": attempt})
    command(inside, "ip", "address", "delete", f"{extra}/{extra.max_prefixlen}", "dev", "lo")

    assert bool(found) is (place == "of the pod network" and network is not NetworkKind.ROUTED)


@FAMILIES
async def test_an_error_passes_whoever_sends_it_if_it_is_about_an_open_connection(
    stage: Stage, family: int, record_property: Record
) -> None:
    """A limit, and needed: any router on the way may send one. What it is about has to be named exactly."""
    source, server, forger = (pod.addresses[family] for pod in (WEB, API, DB))
    await stage.enforce(
        cluster(
            *CLOSED.policies,
            policy("shop/out", labels("app=web"), egress=[rule([pods("app=api")], ["UDP 53"])]),
            policy("shop/in", labels("app=api"), ingress=[rule([pods("app=web")], ["UDP 53"])]),
        )
    )
    port = 4000
    opened = Probe(stage.endpoint(source), server, Transport.UDP, 53, source_port=port)
    assert (await stage.prober.ask(opened)).outcome is Outcome.ACCEPTED

    attempts = {
        what: Attempt(
            namespace(stage, DB),
            unreachable(forger, source, udp(source, server, payload, number)),
            namespace(stage, WEB),
            payload,
        )
        for what, number in (("about the open connection", 53), ("about another", 54))
        for payload in (some_payload(),)
    }
    assert await arrivals(stage, attempts) == {"about the open connection"}
    record_property(on(stage, WAYS), 1)
