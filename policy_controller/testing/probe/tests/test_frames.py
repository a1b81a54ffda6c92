"""Frames sent as they are, and whether they come in at another pod."""

import secrets

import pytest

from policy_controller.testing.laboratory import Pod
from policy_controller.testing.probe import DOT1AD, ProbeError, Prober, Tag, UdpFrame
from policy_controller.testing.probe.tests.conftest import Town, nft

pytestmark = pytest.mark.packets

TAGS = {"untagged": (), "VLAN 0": (Tag(0),), "QinQ": (Tag(0, DOT1AD), Tag(0))}


def frame(source: Pod, destination: Pod, family: int, tags: tuple[Tag, ...], payload: bytes) -> bytes:
    ends = source.addresses[family], destination.addresses[family]
    return UdpFrame(source.mac, destination.mac, *ends, 4000, 53, payload, tags).to_bytes()


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", TAGS)
async def test_a_frame_comes_in_at_a_pod_of_the_same_bridge(
    town: Town, prober: Prober, name: str, family: int
) -> None:
    source, destination = town.near
    payload = secrets.token_bytes(12)
    with prober.capture(destination.namespace, destination.interface) as capture:
        prober.send_frame(
            source.namespace, source.interface, frame(source, destination, family, TAGS[name], payload)
        )
        seen = await capture.frame_with(payload, within=1.0)

    assert seen is not None


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["untagged", "VLAN 0"])
async def test_a_listener_answers_a_frame_that_is_well_made(
    town: Town, prober: Prober, name: str, family: int
) -> None:
    source, destination = town.near
    payload = secrets.token_hex(6).encode()
    with prober.capture(source.namespace, source.interface) as capture:
        prober.send_frame(
            source.namespace, source.interface, frame(source, destination, family, TAGS[name], payload)
        )
        answer = await capture.frame_with(f"{destination.name} ".encode() + payload, within=1.0)

    assert answer is not None


async def test_a_frame_that_the_bridge_drops_does_not_come_in(town: Town, prober: Prober) -> None:
    source, destination = town.near
    nft(
        town.nodes[0].namespace,
        """
        table bridge under-test {
          chain forward {
            type filter hook forward priority 0
            ether type != { ip, ip6, arp } drop
          }
        }
        """,
    )
    seen = {}
    try:
        with prober.capture(destination.namespace, destination.interface) as capture:
            for name, tags in TAGS.items():
                payload = secrets.token_bytes(12)
                prober.send_frame(
                    source.namespace, source.interface, frame(source, destination, 0, tags, payload)
                )
                seen[name] = await capture.frame_with(payload, within=0.3) is not None
    finally:
        nft(town.nodes[0].namespace, "delete table bridge under-test")

    assert seen == {"untagged": True, "VLAN 0": False, "QinQ": False}


async def test_an_interface_that_is_not_there_is_named(town: Town, prober: Prober) -> None:
    with pytest.raises(ProbeError, match="eth7"):
        prober.send_frame(town.pods[0].namespace, "eth7", b"\0" * 64)
    with pytest.raises(ProbeError, match="eth7"):
        prober.capture(town.pods[0].namespace, "eth7")
