"""Text of single values to values: addresses, numbers and their names, ranges, prefixes, elements of sets.

The inverse of the writer's words. Raises ValueError (InvalidNftError is one) without a position; the reader adds it.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from compilers.nftables.expressions import Range
from compilers.nftables.table import Atom, Element, SetKind
from compilers.nftables.words import KEY_WORDS, KeyType, Scalar

SEPARATOR: Final = re.compile(r"\s*,\s*")
SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
# Spellings that nft accepts beside the one it prints.
OTHER_NAMES: Final[Mapping[KeyType, Mapping[str, int]]] = {
    KeyType.PROTOCOL: {"icmpv6": 58},
    KeyType.ETHER: {"vlan": 0x8100},
}
NUMBERS: Final[Mapping[KeyType, Mapping[str, int]]] = {
    key: {name: value for value, name in words.names.items()} | dict(OTHER_NAMES.get(key, {}))
    for key, words in KEY_WORDS.items()
}


def _numeral(key: KeyType, text: str) -> int:
    number = NUMBERS[key].get(text)
    if number is not None:
        return number
    if text.isascii() and text.isdigit():
        return int(text)
    if text.startswith("0x"):
        return int(text, 16)
    raise ValueError(f"{text!r} is not a known {key.value}")


def atom_of(key: KeyType, text: str) -> Atom:
    """Return an address or a number. Raises ValueError."""
    if key is KeyType.IPV4:
        return IPv4Address(text)
    if key is KeyType.IPV6:
        return IPv6Address(text)
    return _numeral(key, text)


def scalar_of(key: KeyType, text: str) -> Scalar:
    """Return one value of any key type. Raises ValueError for what is no such value."""
    return text if KEY_WORDS[key].python is str else atom_of(key, text)


def operand_of(key: KeyType, text: str) -> Scalar | Range | IPv4Network | IPv6Network:
    """Return what stands right of a field: a value, `FIRST-LAST`, or a prefix. Raises ValueError."""
    if key in (KeyType.IPV4, KeyType.IPV6) and "/" in text:
        return ip_network(text)
    first, dash, last = text.partition("-")
    # Names (`nd-redirect`, `br-a`) have dashes too: only numbers and addresses form ranges.
    if dash and KEY_WORDS[key].python is not str and text not in NUMBERS[key]:
        return Range(atom_of(key, first), atom_of(key, last))
    return scalar_of(key, text)


def span_of(text: str) -> int:
    """Return the seconds of a time such as `1m5s`. Raises ValueError."""
    found = SPAN.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"{text!r} is not a time")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _interval(key: KeyType, text: str) -> Range:
    value = operand_of(key, text)
    match value:
        case Range():
            return value
        case IPv4Network() | IPv6Network():
            return Range(value[0], value[-1])
        case str():
            raise ValueError(f"{text!r} is not a range")
        case _:
            return Range(value, value)


def element_parser(key: tuple[KeyType, ...], kind: SetKind) -> Callable[[str], Element]:
    """Return the function that reads one element of such a set. It raises ValueError."""
    first = key[0]
    if kind is SetKind.INTERVAL:
        return lambda text: _interval(first, text)
    if len(key) > 1:

        def concatenation(text: str) -> Element:
            return tuple(atom_of(part, one) for part, one in zip(key, text.split(" . "), strict=True))

        return concatenation
    if first is KeyType.IPV4:
        return IPv4Address
    if first is KeyType.IPV6:
        return IPv6Address
    return lambda text: _numeral(first, text)


def pieces(body: str) -> list[str]:
    """Return the elements between the braces of `elements = { … }`, still as text."""
    body = body.strip()
    return SEPARATOR.split(body.removesuffix(",").rstrip()) if body else []
