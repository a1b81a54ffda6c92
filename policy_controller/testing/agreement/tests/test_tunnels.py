"""Packets that a pod wraps into VXLAN for a node to take out, with packets: on the network that has it, and on those without.

The inner packet would come in by the tunnel's device, past the gate of the pod that wrapped it.
"""

import itertools
import struct
from collections.abc import Iterator

import pytest

from compilers.evaluate.tests.stage import PODS, block, cluster, labels, pods, policy, rule
from compilers.model.cluster import Cluster, Pod
from compilers.model.selector import EVERYTHING
from compilers.nftables.render import TUNNEL_SLOT
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.handmade import Attempt, arrivals, some_payload, udp
from policy_controller.testing.agreement.tests.scene import WAYS, Record, on
from policy_controller.testing.agreement.tests.test_doors import without
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.laboratory.vxlan import UDP_PORT, VNI, endpoints_of
from policy_controller.testing.probe import UdpFrame

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
TO_NODES = rule([block("172.31.0.0/16"), block("fd31::/64")])
TO_SHOP = policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web"), pods("app=api")])])
STATE = cluster(TO_SHOP, policy("ops/out", labels("app=scraper"), egress=[TO_NODES]))
"""Scraper may open connections to nodes alone; pods of shop may be reached by web and api alone."""
FOREIGN_MAC = "02:00:00:00:00:01"
EVERY_FAMILY = tuple(itertools.product((0, 1), (0, 1)))


def wrapped(
    stage: Stage, sender: Pod, node: str, inner: tuple[Pod, Pod], families: tuple[int, int]
) -> Attempt:
    """A packet of one family from the second of `inner` to the first, in a VXLAN packet of the other to a node."""
    outside, inside = families
    destination, source = inner
    endpoint = endpoints_of(stage.node(node))[outside]
    payload = some_payload()
    frame = UdpFrame(
        *(FOREIGN_MAC, endpoint.mac, source.addresses[inside], destination.addresses[inside]),
        *(4000, 53, payload),
    )
    # RFC 7348, 5: the flag that there is a VNI, and the VNI in the upper three bytes.
    tunnelled = struct.pack("!II", 0x08000000, VNI << 8) + frame.to_bytes()
    here = stage.pod_at(sender.addresses[0])
    receiver = stage.pod_at(destination.addresses[0]).namespace
    packet = udp(sender.addresses[outside], endpoint.underlay, tunnelled, UDP_PORT)
    return Attempt(here.namespace, packet, receiver, payload)


def ways_of_scraper(stage: Stage) -> Iterator[tuple[str, Attempt]]:
    """Past its own egress gate with its own address, and past ingress gates with a peer's."""
    for families in EVERY_FAMILY:
        yield (
            f"past its own gate, by the other node, {families}",
            wrapped(stage, SCRAPER, "node-b", (FAR_WEB, SCRAPER), families),
        )
        yield (
            f"past db's gate, by its own node, {families}",
            wrapped(stage, SCRAPER, "node-a", (DB, API), families),
        )
        yield (
            f"past api's gate, by the other node, {families}",
            wrapped(stage, SCRAPER, "node-b", (API, WEB), families),
        )


@pytest.mark.parametrize("door", ["shut", "open"])
async def test_a_packet_in_a_packet_passes_no_gate(
    stage: Stage, network: NetworkKind, door: str, record_property: Record
) -> None:
    shut = stage.tables(STATE)
    await stage.hold(shut if door == "shut" else without(shut, TUNNEL_SLOT))
    ways = dict(ways_of_scraper(stage))
    leaks = door == "open" and network is NetworkKind.VXLAN

    assert await arrivals(stage, ways) == (set(ways) if leaks else set())
    if door == "shut":
        record_property(on(stage, WAYS), len(ways))


NOBODY_OF_NODE_B: Cluster = cluster(policy("shop/in", labels("app=db"), ingress=[rule([pods("app=api")])]))


async def test_a_node_without_isolated_pods_lets_a_packet_in_a_packet_out(
    stage: Stage, network: NetworkKind
) -> None:
    """A limit: the door is shut where a pod is isolated, and the node that takes the packet out cannot tell."""
    await stage.enforce(NOBODY_OF_NODE_B)
    ways = {
        str(families): wrapped(stage, FAR_WEB, "node-a", (DB, API), families) for families in EVERY_FAMILY
    }
    assert await arrivals(stage, ways) == (set(ways) if network is NetworkKind.VXLAN else set())
