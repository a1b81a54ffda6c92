"""Netlink messages as bytes: what is common to every conversation of netfilter with the kernel.

Knows headers and attributes (include/uapi/linux/netlink.h and nfnetlink.h). Knows nothing of what they say.

Not pyroute2's sockets: what is read here are bursts of thousands of messages, of which hardly one is looked at; each would
become an object, and a queue between the kernel and its reader would hide from him that some were lost.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pyroute2.netlink import NETLINK_NETFILTER

HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
GENERIC: Final = struct.Struct("=BBH")
"""struct nfgenmsg: family, version, resource."""
ATTRIBUTE: Final = struct.Struct("=HH")
"""struct nlattr: length, type."""
ATTRIBUTE_TYPE: Final = 0x3FFF
"""Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
RECEIVED: Final = 1 << 17
"""Bytes of one read; the kernel writes at most a quarter of it."""


class Message(NamedTuple):
    """One message; `body` begins behind the header."""

    kind: int
    number: int
    body: bytes


def new_socket(protocol: int = NETLINK_NETFILTER) -> socket.socket:
    """A socket in the network namespace of the calling thread. Raises OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def request(kind: int, flags: int, number: int, body: bytes) -> bytes:
    """The bytes of a message to the kernel."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, number, 0) + body


def messages(received: bytes) -> Iterator[Message]:
    """Each message in what was received."""
    start = 0
    while start + HEADER.size <= len(received):
        length, kind, _, number, _ = HEADER.unpack_from(received, start)
        yield Message(kind, number, received[start + HEADER.size : start + length])
        start += aligned(max(length, HEADER.size))


def attributes(body: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type (without flags) and content of each attribute from `start` on."""
    while start + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        yield kind & ATTRIBUTE_TYPE, body[start + ATTRIBUTE.size : start + length]
        start += aligned(max(length, ATTRIBUTE.size))


def unpacked(form: struct.Struct, body: bytes, start: int = 0) -> tuple[Any, ...]:
    """The values that stand there. Raises OSError where the message is too short for them."""
    if len(body) < start + form.size:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
    return form.unpack_from(body, start)


def aligned(length: int) -> int:
    """The length with what fills it up to a multiple of four bytes."""
    return (length + 3) & ~3
