"""A stream: UDP packets from one address to another, each a flow of its own, all with one mark.

Pure: values and bytes. Knows the layout of frames. Knows nothing of sockets or namespaces.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.probe.frames import UdpFrame

FIRST_PORT: Final = 1024
LAST_PORT: Final = 65535
SOURCE_PORT_AT: Final = {4: 34, 6: 54}
"""IP version -> where the source port stands in an untagged frame."""
PADDING_AT: Final = 12
"""Bytes from the source port to the padding: the UDP header and the mark."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What its packets have in common; `name` is the reader's, and its hash is the mark in the payload."""

    name: str
    source: Address
    destination: Address
    port: int = 9

    def __post_init__(self) -> None:
        if self.source.version != self.destination.version:
            raise ValueError(f"stream {self.name}: {self.source} and {self.destination} are of two families")

    @property
    def mark(self) -> int:
        """The first four bytes of the payload."""
        return zlib.crc32(self.name.encode())

    def frames(self, source_mac: str, next_mac: str, source_ports: Iterable[int]) -> Iterator[bytes]:
        """One frame a source port, correct to the checksum."""
        mark = struct.pack("!I", self.mark)
        template = bytearray(
            UdpFrame(
                *(source_mac, next_mac, self.source, self.destination),
                *(FIRST_PORT, self.port, mark + _padding(FIRST_PORT)),
            ).to_bytes()
        )
        at = SOURCE_PORT_AT[self.source.version]
        for port in source_ports:
            struct.pack_into("!H", template, at, port)
            template[at + PADDING_AT : at + PADDING_AT + 2] = _padding(port)
            yield bytes(template)


def _padding(port: int) -> bytes:
    # With the port it sums to 0xffff, which is nothing to the Internet checksum: all frames share one.
    return struct.pack("!H", 0xFFFF - port)
