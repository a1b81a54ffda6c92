"""Addresses, named-port elements and ranges as packed bytes, ascending and without repeats.

Knows layouts of fixed width. Knows nothing of messages.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.block import Range
from compilers.model.faults import InvalidField
from compilers.model.words import PROTOCOL_BY_NUMBER, PROTOCOLS, Address, Family
from compilers.ruleset.parts import PortElement, address_order, port_element_order

WIDTH: Final = {Family.IPV4: 4, Family.IPV6: 16}
ADDRESS: Final[dict[Family, type[IPv4Address] | type[IPv6Address]]] = {
    Family.IPV4: IPv4Address,
    Family.IPV6: IPv6Address,
}
_PORT: Final = struct.Struct(">BH")


@dataclass(frozen=True, slots=True)
class Halves:
    """Packed bytes of each family."""

    ipv4: bytes
    ipv6: bytes

    def each(self) -> tuple[tuple[Family, bytes], ...]:
        """Both halves with their family, IPv4 first."""
        return (Family.IPV4, self.ipv4), (Family.IPV6, self.ipv6)


def pack_addresses(addresses: Iterable[Address]) -> Halves:
    """4 or 16 bytes an address."""
    ordered = sorted(addresses, key=address_order)
    return Halves(
        b"".join(address.packed for address in ordered if address.version == 4),
        b"".join(address.packed for address in ordered if address.version == 6),
    )


def unpack_addresses(halves: Halves, most: int) -> tuple[Address, ...]:
    """The addresses, IPv4 first; raises InvalidField for a wrong length, order, repeat, or more than `most` a family."""
    return tuple(
        ADDRESS[family](entry)
        for family, packed in halves.each()
        for entry in _entries(family, packed, WIDTH[family], most)
    )


def pack_port_elements(elements: Iterable[PortElement]) -> Halves:
    """7 or 19 bytes an element: address, protocol number, port."""
    ordered = sorted(elements, key=_packed_order)
    packed = [
        (address.version, address.packed + _PORT.pack(PROTOCOLS[protocol].number, port))
        for address, protocol, port in ordered
    ]
    return Halves(
        b"".join(entry for version, entry in packed if version == 4),
        b"".join(entry for version, entry in packed if version == 6),
    )


def unpack_port_elements(halves: Halves, most: int) -> tuple[PortElement, ...]:
    """The elements in the order of the rule set; raises InvalidField as unpack_addresses does, and for no protocol."""
    elements: list[PortElement] = []
    for family, packed in halves.each():
        width = WIDTH[family]
        for entry in _entries(family, packed, width + _PORT.size, most):
            number, port = _PORT.unpack(entry[width:])
            if number not in PROTOCOL_BY_NUMBER:
                raise InvalidField(f"{number} is not the number of a protocol that has ports")
            if port == 0:
                raise InvalidField("0 is not a port")
            elements.append((ADDRESS[family](entry[:width]), PROTOCOL_BY_NUMBER[number], port))
    return tuple(sorted(elements, key=port_element_order))


def pack_ranges(family: Family, ranges: Iterable[Range]) -> bytes:
    """First and last address of each range."""
    width = WIDTH[family]
    return b"".join(first.to_bytes(width, "big") + last.to_bytes(width, "big") for first, last in ranges)


def unpack_ranges(family: Family, packed: bytes, most: int) -> tuple[Range, ...]:
    """The ranges; raises InvalidField for a wrong length or more than `most`. The block set judges the rest."""
    width = WIDTH[family]
    return tuple(
        (int.from_bytes(entry[:width], "big"), int.from_bytes(entry[width:], "big"))
        for entry in _entries(family, packed, 2 * width, most)
    )


def _packed_order(element: PortElement) -> tuple[int, int, int, int]:
    address, protocol, port = element
    return address.version, int(address), PROTOCOLS[protocol].number, port


def _entries(family: Family, packed: bytes, width: int, most: int) -> Iterator[bytes]:
    count, rest = divmod(len(packed), width)
    if rest:
        raise InvalidField(f"IPv{family.value}: {len(packed)} bytes are not a multiple of {width}")
    if count > most:
        raise InvalidField(f"IPv{family.value}: has {count} entries, at most {most} are accepted")
    before = b""
    for start in range(0, len(packed), width):
        entry = packed[start : start + width]
        if entry <= before:
            raise InvalidField(f"IPv{family.value}: entries repeat or are not in ascending order")
        yield entry
        before = entry
