"""Where each pod has a link of its own there are fewer ways around the gates; which are left, with packets.

The counterpart of test_doors.py and test_to_many.py, which are about neighbours on a bridge.
"""

import secrets
from ipaddress import IPv6Address

import pytest

from compilers.evaluate.tests.stage import PODS, cluster, labels, policy
from compilers.model.cluster import Pod
from compilers.nftables.render import LINK_LOCAL_SLOT, TO_MANY_SLOT
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.handmade import Attempt, arrivals, some_payload, udp
from policy_controller.testing.agreement.tests.test_doors import EXPECTED, stand
from policy_controller.testing.agreement.tests.test_to_many import MANY
from policy_controller.testing.laboratory.routed import GATEWAY6
from policy_controller.testing.probe import Endpoint, Outcome, Probe, Transport, UdpFrame

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, FAR_WEB, SCRAPER = PODS


def to_node(stage: Stage, pod: Pod, source: IPv6Address | None = None) -> Probe:
    """To the address that every node has on every link of a pod."""
    there = stage.pod_at(pod.addresses[0])
    gateway = IPv6Address(f"{GATEWAY6}%{there.interface}")
    return Probe(Endpoint(there.namespace, source), gateway, Transport.TCP, 80)


@pytest.mark.parametrize("door", EXPECTED)
async def test_the_link_local_door_to_the_node(stage: Stage, door: str) -> None:
    await stand(stage, door, LINK_LOCAL_SLOT)
    pods = (WEB, SCRAPER)
    results = await stage.prober.run(to_node(stage, pod) for pod in pods)
    assert [result.outcome for result in results] == [EXPECTED[door]] * len(pods)


async def test_the_link_local_door_of_a_node_without_isolated_pods_stands_open(stage: Stage) -> None:
    await stage.enforce(cluster(policy("shop/in", labels("app=api"), ingress=[])))
    (result,) = await stage.prober.run([to_node(stage, WEB)])
    assert result.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("door", EXPECTED)
async def test_pods_have_no_link_local_way_to_each_other(stage: Stage, door: str) -> None:
    await stand(stage, door, LINK_LOCAL_SLOT)
    here, there = stage.pod_at(SCRAPER.addresses[0]), stage.pod_at(DB.addresses[0])
    (result,) = await stage.prober.run([Probe(Endpoint(here.namespace), there.link_local, Transport.TCP, 80)])
    assert result.outcome is not Outcome.ACCEPTED


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
async def test_a_frame_to_another_pods_mac_goes_nowhere(stage: Stage, family: int) -> None:
    await stage.enforce(cluster())
    here, there = (stage.pod_at(pod.addresses[family]) for pod in (SCRAPER, DB))
    payload = some_payload()
    packet = udp(SCRAPER.addresses[family], DB.addresses[family], payload)
    attempt = Attempt(here.namespace, packet, there.namespace, payload, mac=there.mac)
    assert await arrivals(stage, {"by the other pod's MAC": attempt}) == set()


@pytest.mark.parametrize("door", EXPECTED)
@pytest.mark.parametrize("to", MANY)
async def test_a_packet_to_many_stays_on_the_link_of_its_pod(stage: Stage, to: str, door: str) -> None:
    await stand(stage, door, TO_MANY_SLOT)
    mac, group = MANY[to]
    source = next(address for address in SCRAPER.addresses if address.version == group.version)
    here, there = stage.pod_at(source), stage.pod_at(DB.addresses[0])
    payload = secrets.token_bytes(12)
    made = UdpFrame(here.mac, mac, source, group, 4000, 5353, payload).to_bytes()
    with stage.prober.capture(there.namespace, there.interface) as capture:
        stage.prober.send_frame(here.namespace, here.interface, made)
        assert await capture.frame_with(payload, within=0.3) is None
