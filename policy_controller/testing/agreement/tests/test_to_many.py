"""What no gate sees by itself, with packets: one packet to many pods of a bridge."""

import secrets
from ipaddress import IPv4Address, IPv6Address

import pytest

from compilers.evaluate.tests.stage import PODS, cluster, labels, policy
from compilers.model.cluster import Pod
from compilers.nftables.render import TO_MANY_SLOT
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import WAYS, Record, on
from policy_controller.testing.agreement.tests.test_doors import stand
from policy_controller.testing.probe import UdpFrame

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
MANY: dict[str, tuple[str, IPv4Address | IPv6Address]] = {
    "the network's broadcast address": ("ff:ff:ff:ff:ff:ff", IPv4Address("10.244.1.255")),
    "everybody on the link": ("ff:ff:ff:ff:ff:ff", IPv4Address("255.255.255.255")),
    "an IPv4 group": ("01:00:5e:00:00:01", IPv4Address("224.0.0.1")),
    "an IPv6 group": ("33:33:00:00:00:01", IPv6Address("ff02::1")),
}


def address(pod: Pod, version: int) -> IPv4Address | IPv6Address:
    return next(one for one in pod.addresses if one.version == version)


async def arrives(stage: Stage, mac: str, group: IPv4Address | IPv6Address) -> bool:
    """Whether a datagram from a pod that nobody isolates comes in at db, which nobody may reach."""
    source = address(SCRAPER, group.version)
    here, there = stage.pod_at(source), stage.pod_at(DB.addresses[0])
    payload = secrets.token_bytes(12)
    made = UdpFrame(here.mac, mac, source, group, 4000, 5353, payload).to_bytes()
    with stage.prober.capture(there.namespace, there.interface) as capture:
        stage.prober.send_frame(here.namespace, here.interface, made)
        return await capture.frame_with(payload, within=0.5) is not None


@pytest.mark.parametrize("door", ["shut", "open"])
@pytest.mark.parametrize("to", MANY)
async def test_a_packet_to_many_reaches_an_isolated_pod_only_without_the_rules_of_its_slot(
    stage: Stage, to: str, door: str, record_property: Record
) -> None:
    await stand(stage, door, TO_MANY_SLOT)
    assert await arrives(stage, *MANY[to]) is (door == "open")
    if door == "shut":
        record_property(on(stage, WAYS), 1)


async def test_a_node_whose_pods_anybody_may_reach_lets_packets_to_many_pass(stage: Stage) -> None:
    await stage.enforce(cluster(policy("shop/out", labels("app=web"), egress=[])))
    found = {to: await arrives(stage, *way) for to, way in MANY.items()}
    assert found == dict.fromkeys(MANY, True)
