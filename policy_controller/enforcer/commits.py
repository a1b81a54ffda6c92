"""Who committed what to nftables: the kernel's notifications, as far as they are about our tables.

Knows nfnetlink's notifications (include/uapi/linux/netfilter/nf_tables.h): the objects of a transaction, each with the name
of its table, and at its end NEWGEN with the generation and with number and name of the thread that committed. Transactions
that change nothing, checks and elements that time out are not told of. Knows nothing of what is done about it. A fake is in
policy_controller/testing/fake_commits.py.

Numbers of threads are the kernel's own, those of the node's first pid namespace. A container does not know its own by
that name, so the kernel is asked for it: GETGEN is answered with the number of whoever asks.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pyroute2.netlink import NLM_F_REQUEST, NLMSG_ERROR
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES

from compilers.nftables.base import TABLE
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.netlink import GENERIC, RECEIVED, attributes, messages, new_socket, request
from policy_controller.wire.refused import plain

NEWGEN: Final = NFNL_SUBSYS_NFTABLES << 8 | 15
GETGEN: Final = NFNL_SUBSYS_NFTABLES << 8 | 16
GENERATION, THREAD, NAME = 1, 2, 3
"""NFTA_GEN_ID, NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME."""
OF_TABLE: Final = 1
"""The attribute with the table's name, the same in every kind of object: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and so on."""
FAMILIES: Final = {1: TableFamily.INET, 7: TableFamily.BRIDGE}
"""By NFPROTO_INET, NFPROTO_BRIDGE."""
OUR_NAME: Final = TABLE.encode() + b"\0"

GROUP: Final = 7
"""NFNLGRP_NFTABLES."""
SOL_NETLINK: Final = 270
ADD_MEMBERSHIP: Final = 1
SO_RCVBUFFORCE: Final = 33
ROOM: Final = 8 << 20
"""Bytes of notifications that wait to be read: our own largest transactions have some, and kube-proxy's. Used only then."""
MOST_READ: Final = 64
"""Packets of notifications that are read at a stretch; others want the event loop as well."""
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Author:
    """A thread by the kernel's number for it (for a program with one thread that of its process) and its name, fit to print."""

    number: int
    name: str

    def __str__(self) -> str:
        """Name and number."""
        return f"{self.name} (pid {self.number})"


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction, and which of our tables it changed; none is empty."""

    generation: int
    author: Author
    tables: frozenset[TableFamily]


class LostError(Exception):
    """Notifications came faster than they were read, and some are lost."""


class Commits(Protocol):
    """Transactions of one network namespace from the moment this exists."""

    def author(self) -> Author:
        """The calling thread, as its own transactions would be told of. Raises OSError."""
        ...

    async def next(self) -> tuple[Commit, ...]:
        """Wait for transactions that change one of our tables; returns them in order.

        Raises LostError when some may have been missed, and goes on with the next call; OSError.
        """
        ...


class KernelCommits:
    """The kernel's, of the network namespace in which the calling thread is. Raises OSError."""

    def __init__(self, room: int = ROOM) -> None:
        self._socket = new_socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, room)
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP)
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise
        self._touched: set[TableFamily] = set()
        """Of the transaction whose NEWGEN has not been read."""

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    @staticmethod
    def author() -> Author:
        """See Commits."""
        with new_socket() as asking:
            asking.settimeout(ANSWER_SECONDS)
            asking.send(request(GETGEN, NLM_F_REQUEST, 1, GENERIC.pack(socket.AF_UNSPEC, 0, 0)))
            for message in messages(asking.recv(RECEIVED)):
                if message.kind == NEWGEN:
                    return _read_generation(message.body)[1]
                if message.kind == NLMSG_ERROR:
                    number = -int.from_bytes(message.body[:4], "little", signed=True)
                    raise OSError(number, os.strerror(number))
        raise OSError(errno.ENOMSG, "the kernel does not say who asks")

    async def next(self) -> tuple[Commit, ...]:
        """See Commits."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = [*self._skim(await loop.sock_recv(self._socket, RECEIVED))]
                found += self._waiting()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._empty()
                raise LostError from error
            if found:
                return tuple(found)
            # Whoever writes on and on must not keep the loop.
            await asyncio.sleep(0)

    def _waiting(self) -> Iterator[Commit]:
        for _ in range(MOST_READ):
            try:
                received = self._socket.recv(RECEIVED)
            except BlockingIOError:
                return
            yield from self._skim(received)

    def _empty(self) -> None:
        """Let go of what waits: until all of it is read the kernel drops what comes, and does not say so again."""
        self._touched.clear()
        while True:
            try:
                self._socket.recv(RECEIVED)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _skim(self, received: bytes) -> Iterator[Commit]:
        """The commits that end here. One search for our name spares taking apart what is of other tables alone."""
        if not self._touched and OUR_NAME not in received:
            return
        for message in messages(received):
            if message.kind == NEWGEN:
                if self._touched:
                    yield Commit(*_read_generation(message.body), frozenset(self._touched))
                    self._touched.clear()
            elif len(self._touched) < len(FAMILIES) and (family := _our_table(message.body)) is not None:
                self._touched.add(family)


def _our_table(body: bytes) -> TableFamily | None:
    """Which of our tables an object is of."""
    family = FAMILIES.get(body[0]) if body else None
    if family is None:
        return None
    names = (content for kind, content in attributes(body, GENERIC.size) if kind == OF_TABLE)
    return family if next(names, b"") == OUR_NAME else None


def _read_generation(body: bytes) -> tuple[int, Author]:
    parts = dict(attributes(body, GENERIC.size))
    name = parts.get(NAME, b"").rstrip(b"\0").decode("utf-8", "backslashreplace")
    generation, number = (int.from_bytes(parts.get(one, b""), "big") for one in (GENERATION, THREAD))
    return generation, Author(number, plain(name))
