"""The frames of a flood: each a flow of its own, each as correct as one built alone."""

from ipaddress import ip_address

import pytest

from policy_controller.testing.flood import Stream
from policy_controller.testing.flood.sender import FLOWS, Order, frames
from policy_controller.testing.flood.streams import PADDING_AT, SOURCE_PORT_AT
from policy_controller.testing.probe.frames import UdpFrame

NEAR, FAR = "0a:58:0a:f4:01:0b", "0a:58:0a:f4:01:0c"
STREAMS = (
    Stream("a IPv4", ip_address("10.244.1.11"), ip_address("10.244.1.12")),
    Stream("a IPv6", ip_address("fd10:244:1::11"), ip_address("fd10:244:1::12"), 53),
    Stream("b IPv4", ip_address("10.244.1.11"), ip_address("10.244.1.13")),
)


def source_port(frame: bytes) -> int:
    at = SOURCE_PORT_AT[4 if frame[12:14] == b"\x08\x00" else 6]
    return int.from_bytes(frame[at : at + 2], "big")


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("port", [1024, 1025, 40000, 65535])
def test_a_frame_is_what_building_it_alone_gives(stream: Stream, port: int) -> None:
    (frame,) = stream.frames(NEAR, FAR, [port])
    payload = frame[SOURCE_PORT_AT[stream.source.version] + 8 :]
    alone = UdpFrame(NEAR, FAR, stream.source, stream.destination, port, stream.port, payload)
    assert frame == alone.to_bytes()
    assert payload[: PADDING_AT - 8] == stream.mark.to_bytes(4, "big")


def test_no_two_frames_of_a_ring_have_one_source_port() -> None:
    ring = list(frames(STREAMS, NEAR, [FAR] * 3))
    assert len(ring) == FLOWS >= 60_000
    assert len({source_port(frame) for frame in ring}) == FLOWS


def test_streams_take_turns_in_a_ring() -> None:
    ring = list(frames(STREAMS, NEAR, [FAR] * 3))
    for index, stream in enumerate(STREAMS):
        assert ring[3 + index] == next(stream.frames(NEAR, FAR, [1024 + 3 + index]))


def test_an_order_survives_being_an_argument() -> None:
    order = Order("eth0", STREAMS, 4000, None, 10.0)
    assert Order.from_json(order.to_json()) == order


def test_a_stream_between_two_families_is_refused() -> None:
    with pytest.raises(ValueError, match="two families"):
        Stream("mixed", ip_address("10.0.0.1"), ip_address("fd00::1"))
