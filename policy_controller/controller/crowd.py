"""Connections to the port of nodes that carry nobody who is known: of more than there may be, some end.

Knows this process's own descriptors, where each leads to, and which peers are served. Knows nothing of gRPC, which tells
of no connection and bounds none: what is ended here is shut down below it, and it sees a peer that has gone.

Whoever holds most pays: of the addresses with the most connections the oldest end. So a crowd from one pod keeps out
nobody but itself, and a node's new connection has long been known before its turn comes.
"""

import asyncio
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from policy_controller.clock import Clock
from policy_controller.controller.bounds import Bound
from policy_controller.hits import Hits
from policy_controller.logs.restraint import Restraint

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.1
DESCRIPTORS: Final = "/proc/self/fd"

Peer = tuple[str, int]
"""Address, as text, and port."""


class Connection(NamedTuple):
    """By its descriptor; no other has the same inode while it is open."""

    descriptor: int
    inode: int


class Crowd:
    """Of one port. `known` are the peers that are being served now."""

    def __init__(
        self,
        port: Callable[[], int],
        known: Callable[[], Collection[Peer]],
        most: int,
        clock: Clock,
        hits: Hits[Bound],
    ) -> None:
        self._port = port
        self._known = known
        self._most = most
        self._clock = clock
        self._hits = hits
        self._since: dict[Peer, float] = {}
        self._ended: set[int] = set()
        """Inodes of connections that were shut down and are still there."""
        self._restraint = Restraint(clock.now)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            # In a crowd that goes on coming there is no pause.
            if not await asyncio.to_thread(self.look):
                await self._clock.sleep(LOOK_SECONDS)

    def look(self) -> int:
        """End what is too much; returns how many connections that was."""
        known = frozenset(self._known())
        try:
            if len(os.listdir(DESCRIPTORS)) <= self._most + len(known):
                self._since.clear()
                return 0
            there = connections(self._port())
        except OSError as error:
            # Of all descriptors none is left to look with; gRPC's own are given back as handshakes take too long.
            self._tell("connections cannot be looked at: %s", error.strerror)
            return 0
        # gRPC takes a moment to let go of what was shut down.
        self._ended &= {connection.inode for connection in there.values()}
        now = self._clock.now()
        self._since = {
            peer: self._since.get(peer, now)
            for peer, connection in there.items()
            if peer not in known and connection.inode not in self._ended
        }
        ended = surplus(self._since, self._most)
        for peer in ended:
            _end(there[peer], self._port())
            self._ended.add(there[peer].inode)
        if ended:
            self._hits.note(Bound.CONNECTIONS, len(ended))
            told = "there are more than %d connections of nobody who is known: %d have ended, the first of %s"
            self._tell(told, self._most, len(ended), ended[0][0])
        return len(ended)

    def _tell(self, words: str, *parts: object) -> None:
        if self._restraint.allows():
            log.warning(words, *parts)


def surplus(since: Mapping[Peer, float], most: int) -> list[Peer]:
    """Those of the connections that must end so that `most` are left: where there are most, the oldest first."""
    if len(since) <= most:
        return []
    youngest_first = sorted(since, key=lambda peer: (-since[peer], peer))
    by_address: dict[str, list[Peer]] = {}
    for peer in youngest_first:
        by_address.setdefault(peer[0], []).append(peer)
    counts = sorted(len(peers) for peers in by_address.values())
    share, left = most, most
    for index, count in enumerate(counts):
        # Who has less than an equal part of what is left keeps all of it.
        share = left // (len(counts) - index)
        if count > share:
            break
        left -= count
    kept = {peer for peers in by_address.values() for peer in peers[:share]} or set(youngest_first[:most])
    return [peer for peer in reversed(youngest_first) if peer not in kept]


def connections(port: int) -> dict[Peer, Connection]:
    """Connections to a port of this process. Raises OSError."""
    found = {}
    for name in os.listdir(DESCRIPTORS):
        taken = _taken(int(name), port)
        if taken is not None:
            with taken, suppress(OSError):
                found[_peer(taken)] = Connection(int(name), os.fstat(taken.fileno()).st_ino)
    return found


def _taken(descriptor: int, port: int) -> socket.socket | None:
    """The connection to this port that a descriptor is of, by another descriptor; None: it is of none."""
    try:
        if not stat.S_ISSOCK(os.stat(descriptor).st_mode):
            return None
        taken = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        # It has gone meanwhile.
        return None
    with suppress(OSError):
        if _is_at(taken, port):
            # What listens has no peer.
            taken.getpeername()
            return taken
    taken.close()
    return None


def peer_of(text: str) -> Peer | None:
    """The peer of a call as gRPC writes it, `ipv4:192.0.2.1:40404` or `ipv6:[fd00::1]:40404`; None for any other."""
    kind, _, rest = text.partition(":")
    address, _, port = rest.rpartition(":")
    if kind not in {"ipv4", "ipv6"} or not port.isdecimal():
        return None
    return address.strip("[]"), int(port)


def _is_at(connection: socket.socket, port: int) -> bool:
    return connection.family in {socket.AF_INET, socket.AF_INET6} and connection.getsockname()[1] == port


def _peer(connection: socket.socket) -> Peer:
    """Raises OSError for what is not connected: it listens."""
    host, port = connection.getpeername()[:2]
    if connection.family == socket.AF_INET6:
        address = ipaddress.IPv6Address(host.partition("%")[0])
        host = host if address.ipv4_mapped is None else str(address.ipv4_mapped)
    return host, port


def _end(connection: Connection, port: int) -> None:
    taken = _taken(connection.descriptor, port)
    if taken is None:
        return
    # The number may be another's by now, and a peer may be faster.
    with taken, suppress(OSError):
        if os.fstat(taken.fileno()).st_ino == connection.inode:
            taken.shutdown(socket.SHUT_RDWR)
