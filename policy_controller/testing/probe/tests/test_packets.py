"""Packets as bytes, against published values and against themselves."""

import pytest

from policy_controller.testing.probe.packets import Chunk, Echo, SctpPacket, crc32c, internet_checksum


@pytest.mark.parametrize(
    ("message", "checksum"),
    [
        pytest.param(b"123456789", 0xE3069283, id="the check value of CRC-32C"),
        pytest.param(bytes(32), 0x8A9136AA, id="RFC 3720 B.4: zeroes"),
        pytest.param(b"\xff" * 32, 0x62A8AB43, id="RFC 3720 B.4: ones"),
        pytest.param(bytes(range(32)), 0x46DD794E, id="RFC 3720 B.4: incrementing"),
    ],
)
def test_crc32c_agrees_with_published_values(message: bytes, checksum: int) -> None:
    assert crc32c(message) == checksum


def test_internet_checksum_agrees_with_the_example_of_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2


@pytest.mark.parametrize(
    "packet",
    [
        SctpPacket(40000, 9999, 0, Chunk.INIT, initiate_tag=7),
        SctpPacket(9999, 40000, 7, Chunk.INIT_ACK, initiate_tag=8, cookie=b"pod-1"),
        SctpPacket(9999, 40000, 7, Chunk.INIT_ACK, initiate_tag=8, cookie=b""),
        SctpPacket(9999, 40000, 7, Chunk.ABORT),
    ],
    ids=lambda packet: packet.chunk.name,
)
def test_an_sctp_packet_survives_the_wire_and_no_other_does(packet: SctpPacket) -> None:
    message = packet.to_bytes()

    assert SctpPacket.from_bytes(message) == packet
    assert len(message) % 4 == 0
    for length in range(len(message)):
        assert SctpPacket.from_bytes(message[:length]) is None
    for position in range(len(message)):
        broken = bytearray(message)
        broken[position] ^= 0x01
        assert SctpPacket.from_bytes(bytes(broken)) is None


@pytest.mark.parametrize("version", [4, 6])
def test_an_echo_request_is_no_reply(version: int) -> None:
    echo = Echo(version, 1, 2, b"nonce")

    assert Echo.from_request(version, echo.request()) == echo
    assert Echo.from_reply(version, echo.request()) is None
