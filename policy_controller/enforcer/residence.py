"""Which addresses are on the node: those of every network namespace that a link of the node leads to, over rtnetlink.

Knows veth pairs and the kernel's numbers for namespaces. Knows nothing of why an address is looked for. A fake is in
policy_controller/testing/fake_residence.py.

A pod's link ends in the pod's namespace, and the kernel lists the addresses in a namespace that a link leads to
(IFA_TARGET_NETNSID, Linux 4.20) to whoever has CAP_NET_ADMIN: whatever the pod answers or does not answer, and whatever
neighbour tables have forgotten. The link goes with the namespace, at the latest.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from typing import Final, Protocol, Self

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK

from compilers.model.words import Address
from policy_controller.enforcer.netlink import new_socket, unpacked

MESSAGE: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, change."""
ADDRESS: Final = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
ATTRIBUTE: Final = struct.Struct("=HH")
"""struct nlattr: length, type."""
NUMBER: Final = struct.Struct("=i")
ATTRIBUTE_TYPE: Final = 0x3FFF
LINK_NAME, LINK_MASTER, LINK_NAMESPACE = 3, 10, 37
"""IFLA_IFNAME, IFLA_MASTER, IFLA_LINK_NETNSID: the namespace of a link's other end."""
IFA_ADDRESS, IFA_LOCAL, IFA_TARGET_NAMESPACE = 1, 2, 10
STRICT: Final = 12
"""NETLINK_GET_STRICT_CHK: without it the kernel does not look at the attributes of what is asked, and lists its own."""
SOL_NETLINK: Final = 270
INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: something changed while it was listed, and may be missing."""
MOST_LISTINGS: Final = 5
"""How often what is listed may change before nothing can be told."""
MOST_ADDRESSES: Final = 1 << 16
"""A pod that may administer its network can have any number."""
LAST: Final = frozenset({NLMSG_DONE, NLMSG_ERROR})
"""What ends an answer; both begin with a status: 0, or an error number below it."""
RECEIVED: Final = 1 << 17
ANSWER_SECONDS: Final = 10.0
MAKE: Final[Mapping[int, type[Address]]] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}


@dataclass(frozen=True, slots=True)
class Residents:
    """One look. `links`: for each address the links of the node that lead to the namespaces that have it.

    `pods`: those links on which pods are met, also of namespaces without an address. A link is its index, which no later
    one gets.
    """

    links: Mapping[Address, frozenset[int]] = field(default_factory=dict)
    pods: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Link:
    namespace: int
    name: str
    master: int | None


class Residence(Protocol):
    """The addresses behind the links of one network namespace."""

    def look(self) -> Residents:
        """Who is there now. Raises OSError when that cannot be told."""
        ...


class LinkedNamespaces:
    """The kernel's, of the network namespace in which the calling thread is; `patterns` as BaseSettings takes them."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns

    def look(self) -> Residents:
        """See Residence. Takes some 50 µs a namespace."""
        with _Netlink() as netlink:
            for _ in range(MOST_LISTINGS - 1):
                with suppress(InterruptedError):
                    return _residents(netlink, self._patterns)
            return _residents(netlink, self._patterns)


def _residents(netlink: "_Netlink", patterns: tuple[str, ...]) -> Residents:
    found: dict[Address, set[int]] = {}
    names, links = netlink.links()
    pods = (
        index
        for index, link in links.items()
        for name in (link.name, names.get(link.master, ""))
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    for namespace in sorted({link.namespace for link in links.values()}):
        there = {index for index, link in links.items() if link.namespace == namespace}
        for address in netlink.addresses(namespace):
            found.setdefault(address, set()).update(there)
            if len(found) > MOST_ADDRESSES:
                raise OSError(errno.E2BIG, f"there are more than {MOST_ADDRESSES} addresses")
    return Residents({address: frozenset(there) for address, there in found.items()}, frozenset(pods))


class _Netlink:
    """One conversation with the kernel. Errors are OSError."""

    def __init__(self) -> None:
        self._socket = new_socket(socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_SECONDS)
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self._socket.setsockopt(SOL_NETLINK, STRICT, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def links(self) -> tuple[dict[int | None, str], dict[int, _Link]]:
        """The names of all links, and those links that lead to another namespace."""
        names: dict[int | None, str] = {}
        found = {}
        for body in self._ask(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            _, _, index, _, _ = unpacked(LINK, body)
            parts = dict(attributes(body, LINK.size))
            names[index] = parts.get(LINK_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
            if LINK_NAMESPACE in parts:
                master = unpacked(NUMBER, parts[LINK_MASTER])[0] if LINK_MASTER in parts else None
                found[index] = _Link(unpacked(NUMBER, parts[LINK_NAMESPACE])[0], names[index], master)
        return names, found

    def addresses(self, namespace: int) -> Iterator[Address]:
        """Every address in a namespace; none when it has gone meanwhile."""
        wanted = ATTRIBUTE.pack(ATTRIBUTE.size + NUMBER.size, IFA_TARGET_NAMESPACE) + NUMBER.pack(namespace)
        try:
            for body in self._ask(RTM_GETADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + wanted):
                family, *_ = unpacked(ADDRESS, body)
                parts = dict(attributes(body, ADDRESS.size))
                # On a point-to-point link IFA_ADDRESS is the other end's.
                packed = parts.get(IFA_LOCAL, parts.get(IFA_ADDRESS))
                if family in MAKE and packed is not None:
                    yield _address(MAKE[family], packed)
        except OSError as error:
            # The kernel's answer for a number that no namespace has any more.
            if error.errno != errno.EINVAL:
                raise

    def _ask(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yield the body of each answer until the kernel says that there are no more."""
        number, length = next(self._numbers), MESSAGE.size + len(body)
        self._socket.send(MESSAGE.pack(length, kind, NLM_F_REQUEST | NLM_F_DUMP, number, 0) + body)
        while True:
            received, start = self._socket.recv(RECEIVED), 0
            while start + MESSAGE.size <= len(received):
                length, answer, flags, about, _ = MESSAGE.unpack_from(received, start)
                content = received[start + MESSAGE.size : start + length]
                start += _aligned(max(length, MESSAGE.size))
                if about != number:
                    continue
                if flags & INTERRUPTED:
                    raise InterruptedError(errno.EINTR, "the kernel's lists change while they are read")
                if answer not in LAST:
                    yield content
                    continue
                (status,) = unpacked(NUMBER, content)
                if status < 0:
                    raise OSError(-status, os.strerror(-status))
                return


def _address(make: type[Address], packed: bytes) -> Address:
    try:
        return make(packed)
    except ValueError:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG)) from None


def attributes(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Type (without flags) and content of each attribute from `start` on."""
    while start + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        yield kind & ATTRIBUTE_TYPE, body[start + ATTRIBUTE.size : start + length]
        start += _aligned(max(length, ATTRIBUTE.size))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
