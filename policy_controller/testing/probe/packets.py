"""SCTP and ICMP packets as bytes: built, checked and taken apart.

Pure. RFC 9260 for SCTP (chunks, CRC32c), RFC 792 and RFC 4443 for echo. The kernel's conntrack checks
the SCTP checksum, so it has to be right.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SCTP_PROTOCOL: Final = 132
STATE_COOKIE: Final = 7
WINDOW: Final = 65536
ECHO_TYPES: Final = {4: (8, 0), 6: (128, 129)}
"""IP version -> (echo request, echo reply)."""


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901 - a shift register
        table.append(value)
    return tuple(table)


CRC32C: Final = _crc32c_table()


def crc32c(message: bytes) -> int:
    """The Castagnoli checksum of a message (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in message:
        crc = (crc >> 8) ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def internet_checksum(message: bytes) -> int:
    """The ones' complement sum of RFC 1071."""
    padded = message + b"\0" * (len(message) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Chunk(IntEnum):
    """The SCTP chunk types of a handshake's first half."""

    INIT = 1
    INIT_ACK = 2
    ABORT = 6


@dataclass(frozen=True, slots=True)
class SctpPacket:
    """One SCTP packet with one chunk. `tag` is the verification tag; `initiate_tag` belongs to INIT and INIT ACK."""

    source_port: int
    port: int
    tag: int
    chunk: Chunk
    initiate_tag: int = 0
    cookie: bytes = b""

    def to_bytes(self) -> bytes:
        """The packet with its checksum."""
        value = b""
        if self.chunk is not Chunk.ABORT:
            value = struct.pack("!IIHHI", self.initiate_tag, WINDOW, 1, 1, self.initiate_tag)
        if self.chunk is Chunk.INIT_ACK:
            value += struct.pack("!HH", STATE_COOKIE, 4 + len(self.cookie)) + self.cookie
        chunk = struct.pack("!BBH", self.chunk, 0, 4 + len(value)) + value
        chunk += b"\0" * (-len(chunk) % 4)
        header = struct.pack("!HHI", self.source_port, self.port, self.tag)
        return header + struct.pack("<I", crc32c(header + b"\0\0\0\0" + chunk)) + chunk

    @classmethod
    def from_bytes(cls, message: bytes) -> "SctpPacket | None":
        """The packet in `message`; None if it is broken, has a wrong checksum or an unknown first chunk."""
        if len(message) < 16:
            return None
        source_port, port, tag = struct.unpack_from("!HHI", message)
        (checksum,) = struct.unpack_from("<I", message, 8)
        kind, _, length = struct.unpack_from("!BBH", message, 12)
        value = message[16 : 12 + length]
        known = kind in Chunk.__members__.values()
        if checksum != crc32c(message[:8] + b"\0\0\0\0" + message[12:]) or not known:
            return None
        chunk = Chunk(kind)
        if chunk is Chunk.ABORT:
            return cls(source_port, port, tag, chunk)
        if len(value) < 16:
            return None
        (initiate_tag,) = struct.unpack_from("!I", value)
        cookie = b""
        if chunk is Chunk.INIT_ACK and len(value) >= 20:
            parameter, size = struct.unpack_from("!HH", value, 16)
            cookie = value[20 : 16 + size] if parameter == STATE_COOKIE else b""
        return cls(source_port, port, tag, chunk, initiate_tag, cookie)


@dataclass(frozen=True, slots=True)
class Echo:
    """An ICMP or ICMPv6 echo request or reply (`version` 4 or 6)."""

    version: int
    identifier: int
    sequence: int
    payload: bytes = b""

    def request(self) -> bytes:
        """The request; for ICMPv6 the kernel fills in the checksum, which covers the addresses."""
        kind = ECHO_TYPES[self.version][0]
        parts = kind, 0, 0, self.identifier, self.sequence
        checksum = internet_checksum(struct.pack("!BBHHH", *parts) + self.payload) if self.version == 4 else 0
        return struct.pack("!BBHHH", kind, 0, checksum, self.identifier, self.sequence) + self.payload

    @classmethod
    def from_reply(cls, version: int, message: bytes) -> "Echo | None":
        """The echo in a reply; None if `message` is something else."""
        return cls._from(version, message, ECHO_TYPES[version][1])

    @classmethod
    def from_request(cls, version: int, message: bytes) -> "Echo | None":
        """The echo in a request (an ICMP error quotes it); None if `message` is something else."""
        return cls._from(version, message, ECHO_TYPES[version][0])

    @classmethod
    def _from(cls, version: int, message: bytes, kind: int) -> "Echo | None":
        if len(message) < 8 or message[0] != kind:
            return None
        identifier, sequence = struct.unpack_from("!HH", message, 4)
        return cls(version, identifier, sequence, message[8:])
