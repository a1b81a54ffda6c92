"""Addresses and CIDRs as text, read as Go reads them.

Knows every spelling that Kubernetes has accepted over the years and which of them it accepts today. Knows nothing of
what a block is for. `netutils.ParseIPSloppy` and `ParseCIDRSloppy` are what stored objects were accepted with.
"""

import ipaddress
import re
from typing import Final

from compilers.model.selector import quoted
from compilers.model.words import Address, Network
from compilers.parse.field import Field, Origin

_CIDR: Final = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}")
_ADDRESS: Final = re.compile(r"[0-9a-fA-F:.]+")
_IPV4_ZEROS: Final = re.compile(r"(?<![0-9a-fA-F])0+(?=[0-9]+(?:\.|\Z))")
_IPV6_ZEROS: Final = re.compile(r"(?<![0-9a-fA-F])0+(?=[0-9a-fA-F]{4}(?![0-9a-fA-F]))")
_LONGEST: Final = 80
"""Characters; the longest address and length without leading zeros have 49."""
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def read_network(field: Field, text: str) -> Network | None:
    """The network that a CIDR means; None and a fault when it is none.

    Host bits are cut off with a warning, as the API server does. Leading zeros and IPv4-mapped IPv6 are faults in
    files; from an API server they are read as Go reads them (decimal; the IPv4 network), with a warning.
    """
    plain = _without_zeros(text)
    interface = _interface(plain)
    if interface is None:
        field.fault(f"{quoted(text)} is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32{_why(text)}")
        return None
    written: Network = interface.network
    network = _unmapped(written)
    if interface.ip != written.network_address:
        field.warn(f"{quoted(text)} has bits beyond its prefix length: it means {network}")
    known = _tolerated(field, text, zeros=plain != text, mapped=network is not written, meaning=str(network))
    return network if known else None


def read_address(field: Field, text: str) -> Address | None:
    """The address that the text means; None and a fault when it is none. Old spellings as in `read_network`."""
    plain = _without_zeros(text)
    written = _address(plain)
    if written is None:
        field.fault(f"{quoted(text)} is not an IP address{_why(text)}")
        return None
    mapped = written.ipv4_mapped if isinstance(written, ipaddress.IPv6Address) else None
    address: Address = mapped or written
    known = _tolerated(field, text, zeros=plain != text, mapped=mapped is not None, meaning=str(address))
    return address if known else None


def _why(text: str) -> str:
    return ": it has a zone id, which no address here may have" if "%" in text else ""


def _tolerated(field: Field, text: str, *, zeros: bool, mapped: bool, meaning: str) -> bool:
    what = [word for word, is_so in (("leading zeros", zeros), ("IPv4 written as IPv6", mapped)) if is_so]
    if not what:
        return True
    said = f"{quoted(text)} has {' and '.join(what)}: it means {meaning}"
    if field.findings.origin is Origin.FILE:
        field.fault(f"{said}, write that")
        return False
    field.warn(said)
    return True


def _without_zeros(text: str) -> str:
    if len(text) > _LONGEST:
        return text
    address, slash, length = text.partition("/")
    if "." in address:
        address = _IPV4_ZEROS.sub("", address)
    if ":" in address:
        address = _IPV6_ZEROS.sub("", address)
    if length.isascii() and length.isdecimal() and len(length) > 1:
        length = length.lstrip("0") or "0"
    return f"{address}{slash}{length}"


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    if not _CIDR.fullmatch(text):
        return None
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    if not _ADDRESS.fullmatch(text):
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _unmapped(network: Network) -> Network:
    """The IPv4 network that Go's `To4` sees in an IPv4-mapped IPv6 one; any other unchanged."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network
