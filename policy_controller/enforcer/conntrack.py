"""The kernel's memory of connections: entries that hold an address are found, read and deleted, over netlink.

Knows ctnetlink's messages (include/uapi/linux/netfilter/nfnetlink_conntrack.h) as far as a dump and a deletion need
them. Knows nothing of why a connection must end. A fake is in policy_controller/testing/fake_connections.py.

An entry has two tuples, of the original direction and of the reply; where an address is translated they differ, so any
of four addresses may be the one that is meant. What is deleted is named by the kernel's own bytes for the entry's
original tuple, zone and id: so every protocol is covered, also those whose tuples nobody here can read, and an entry
that took the place of a listed one is left alone. What is cut is named without the id: the kernel then finds by the tuple
of either direction, and so also the entry that a server has made since, where the listed one had ended by itself.
"""

import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import count, islice
from typing import Final, Protocol, Self

from pyroute2 import IPRoute
from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
)
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_CTNETLINK
from pyroute2.netlink.nfnetlink.nfctsocket import IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET

from compilers.model.words import Address
from compilers.ruleset.denial import Flow
from policy_controller.enforcer.netlink import (
    ATTRIBUTE,
    GENERIC,
    RECEIVED,
    aligned,
    attributes,
    messages,
    new_socket,
    request,
    unpacked,
)

STATUS: Final = struct.Struct("=i")
NESTED: Final = 0x8000
"""NLA_F_NESTED."""
TUPLE_ORIGINAL, TUPLE_REPLY, ID, ZONE = 1, 2, 12, 18
"""CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE."""
STATUS_BITS: Final = 3
"""CTA_STATUS."""
EXPECTED: Final = 1
"""IPS_EXPECTED: of a connection that another one announced (FTP's data), which stands with that one."""
TUPLE_IP, TUPLE_PROTOCOL = 1, 2
"""CTA_TUPLE_IP, CTA_TUPLE_PROTO; what the former holds are addresses, source and destination."""
PROTOCOL, SOURCE_PORT = 1, 2
"""CTA_PROTO_NUM, CTA_PROTO_SRC_PORT; the latter of whatever has ports."""
NUMBER: Final = struct.Struct(">I")
PORT: Final = struct.Struct(">H")
WIDTH4: Final = 4
"""Bytes of an IPv4 address."""
TUPLES: Final = (TUPLE_ORIGINAL, TUPLE_REPLY)
NAMING: Final = (TUPLE_ORIGINAL, ZONE)
"""What names an entry, or another of the same tuple in either direction."""
MOST_SEARCHED: Final = 32
"""With more addresses, taking every entry apart costs less than a search, which tries each address at each byte."""
LAST: Final = frozenset({NLMSG_DONE, NLMSG_ERROR})
"""What ends an answer; both begin with a status: 0, or an error number below it."""
MOST_ENTRIES: Final = 65_536
"""Remembered of one walk, some 150 bytes each, 300 of those to be cut: a pod may have opened as many connections as the node bears."""
MOST_WALKS: Final = 16
"""In a row; whoever opens more meanwhile is tried again later."""
ANSWER_SECONDS: Final = 10.0
"""The kernel answers at once; whoever waits longer would wait for ever."""


class ConnectionsError(Exception):
    """Connections that should have ended may go on; the text says what was asked and what the kernel answered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One connection that is remembered. `name` is for whoever remembers it.

    `flow`: what gates see of it. They stand behind the translation of destinations and before that of sources, so it goes
    from the source of the original tuple to the source of the reply.
    """

    flow: Flow
    name: bytes


class Connections(Protocol):
    """The memory of connections of one network namespace."""

    def of(self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]) -> tuple[Entry, ...]:
        """Connections that one of the addresses has opened or answers, as far as a gate has judged them by themselves.

        Without those that the node itself opened, and those that others announced. No more than MOST_ENTRIES of those that
        are wanted: when it is as many, there may be others. Raises ConnectionsError.
        """
        ...

    def cut(self, entries: Iterable[Entry]) -> int:
        """Delete these entries, or what took their place, and return how many there were. Raises ConnectionsError.

        After an error some may be deleted already; asking again is right.
        """
        ...

    def end(self, addresses: frozenset[Address]) -> int:
        """Delete every entry that holds one of the addresses, and return how many. Raises ConnectionsError.

        After an error some may be deleted already; asking again is right.
        """
        ...


class Conntrack:
    """The kernel's, of the network namespace in which the calling thread is."""

    def end(self, addresses: frozenset[Address]) -> int:
        """See Connections. Once is enough after new rules are committed.

        An entry that the listing does not show began under them, or of a packet that was on its way when they were
        committed: such a packet has left the hooks, and its entry is listed, long before this thread gets to ask.
        """
        if not addresses:
            return 0
        wanted = frozenset(address.packed for address in addresses)
        try:
            with _Netlink() as netlink:
                return _ended(netlink, wanted)
        except OSError as error:
            raise ConnectionsError(
                f"connections of {len(addresses)} addresses: {error.strerror or error}"
            ) from error

    def of(self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]) -> tuple[Entry, ...]:
        """See Connections. 10 µs an entry that holds one of the addresses, 2.5 any other."""
        if not addresses:
            return ()
        held = frozenset(address.packed for address in addresses)
        try:
            own = _own_addresses()

            def judged(flow: Flow) -> bool:
                within = flow.source in addresses or flow.destination in addresses
                return within and flow.source not in own and wanted(flow)

            with _Netlink() as netlink:
                every = map(_entry, netlink.holding(held))
                found = (entry for entry in every if entry is not None and judged(entry.flow))
                return tuple(islice(found, MOST_ENTRIES))
        except OSError as error:
            raise ConnectionsError(f"connections cannot be listed: {error.strerror or error}") from error

    def cut(self, entries: Iterable[Entry]) -> int:
        """See Connections."""
        try:
            with _Netlink() as netlink:
                return sum(netlink.delete(entry.name) for entry in entries)
        except OSError as error:
            raise ConnectionsError(f"connections cannot be cut: {error.strerror or error}") from error


def _ended(netlink: "_Netlink", wanted: frozenset[bytes]) -> int:
    """How many entries were deleted. Raises OSError."""
    count = 0
    for _ in range(MOST_WALKS):
        # All are read before the first is deleted: the kernel walks a table that should stand still.
        entries: list[bytes] = []
        more = False
        for entry in netlink.entries(wanted):
            more = len(entries) == MOST_ENTRIES
            if not more:
                entries.append(entry)
        count += sum(map(netlink.delete, entries))
        if not more:
            return count
    raise OSError(errno.E2BIG, f"there are still some after {count:,} were ended")


class _Netlink:
    """One conversation with the kernel. Errors are OSError."""

    def __init__(self) -> None:
        self._socket = new_socket()
        self._socket.settimeout(ANSWER_SECONDS)
        self._numbers = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def entries(self, wanted: frozenset[bytes]) -> Iterator[bytes]:
        """Entries that hold one of the packed addresses, each as the body of the message that deletes it."""
        return map(_named, self.holding(wanted))

    def holding(self, wanted: frozenset[bytes]) -> Iterator[bytes]:
        """The same, as the kernel tells of them."""
        may_hold = _search(wanted) if len(wanted) <= MOST_SEARCHED else bool
        for body in self._ask(IPCTNL_MSG_CT_GET, NLM_F_DUMP, GENERIC.pack(socket.AF_UNSPEC, 0, 0)):
            if may_hold(body) and not wanted.isdisjoint(_addresses(body)):
                yield body

    def delete(self, entry: bytes) -> int:
        """How many entries this deleted: none when the entry has ended by itself, else one."""
        try:
            for _ in self._ask(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, entry):
                pass
        except OSError as error:
            if error.errno == errno.ENOENT:
                return 0
            raise
        return 1

    def _ask(self, asked: int, flags: int, body: bytes) -> Iterator[bytes]:
        """Send one request; yield the body of each answer until the kernel says that there are no more."""
        number = next(self._numbers)
        kind = NFNL_SUBSYS_CTNETLINK << 8 | asked
        self._socket.send(request(kind, flags | NLM_F_REQUEST, number, body))
        while True:
            for answer in messages(self._socket.recv(RECEIVED)):
                if answer.number != number:
                    continue
                if answer.kind not in LAST:
                    yield answer.body
                    continue
                (status,) = unpacked(STATUS, answer.body)
                if status < 0:
                    raise OSError(-status, os.strerror(-status))
                return


def _named(body: bytes) -> bytes:
    """What names an entry to the kernel, and no other that takes its place."""
    parts = dict(attributes(body, GENERIC.size))
    named = ((kind, parts[kind]) for kind in (TUPLE_ORIGINAL, ID, ZONE) if kind in parts)
    return body[: GENERIC.size] + b"".join(_attribute(*one) for one in named)


def _entry(body: bytes) -> Entry | None:
    """What is told of an entry; None for one that stands with another."""
    name, ends = [body[: GENERIC.size]], []
    for kind, content in attributes(body, GENERIC.size):
        if kind in TUPLES:
            ends.append(_source(content))
        if kind in NAMING:
            name.append(_attribute(kind, content))
        if kind == STATUS_BITS:
            if NUMBER.unpack(content)[0] & EXPECTED:
                return None
            # What is asked for comes before it, and much behind it.
            break
    (source, protocol, source_port), (destination, _, destination_port) = ends
    flow = Flow(_address(source), _address(destination), protocol, source_port, destination_port)
    return Entry(flow, b"".join(name))


def _source(content: bytes) -> tuple[bytes, int, int]:
    """Of a tuple: where it comes from, the protocol, and the port where there is one."""
    source, protocol, port = b"", 0, 0
    for kind, part in attributes(content):
        if kind == TUPLE_IP:
            # It comes first.
            _, source = next(attributes(part))
        elif kind == TUPLE_PROTOCOL:
            for what, value in attributes(part):
                if what == PROTOCOL:
                    protocol = value[0]
                elif what == SOURCE_PORT:
                    (port,) = PORT.unpack(value)
                    break
    return source, protocol, port


def _own_addresses() -> frozenset[Address]:
    """Those of the node itself: what it opens meets no gate, since it is sent out and not forwarded. Raises OSError."""
    try:
        with IPRoute() as route:
            held = [message.get("local") or message.get("address") for message in route.get_addr()]
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
    return frozenset(ip_address(text) for text in held if text)


@lru_cache(maxsize=1 << 16)
def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == WIDTH4 else IPv6Address(packed)


def _search(wanted: frozenset[bytes]) -> Callable[[bytes], object]:
    """One search of a whole message: most hold no address that is wanted, and need not be taken apart."""
    return re.compile(b"|".join(map(re.escape, sorted(wanted))), re.DOTALL).search


def _attribute(kind: int, content: bytes) -> bytes:
    length = ATTRIBUTE.size + len(content)
    nested = NESTED if kind == TUPLE_ORIGINAL else 0
    return ATTRIBUTE.pack(length, kind | nested) + content + bytes(aligned(length) - length)


def _addresses(body: bytes) -> list[bytes]:
    """The packed addresses of both tuples of an entry."""
    found: list[bytes] = []
    tuples = 0
    for kind, content in attributes(body, GENERIC.size):
        if kind in TUPLES:
            for part, addresses in attributes(content):
                if part == TUPLE_IP:
                    found += (address for _, address in attributes(addresses))
            tuples += 1
            # They come first; the many attributes behind them are not looked at.
            if tuples == len(TUPLES):
                break
    return found
