"""The kernels of a laboratory's nodes, told what to hold from a process of their own.

libnftables waits with select(), which ends the whole process when a descriptor's number reaches 1024; a prober has
thousands open. So a small process with few descriptors enters each node's namespace and speaks to its kernel.
"""

import ctypes
import enum
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Final, Self

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from compilers.nftables.table import Table, TableName
from compilers.nftables.transaction import Transaction
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.laboratory import inside

PR_SET_PDEATHSIG: Final = 1


class Pace(enum.Enum):
    """What transactions that are repeated wait for in between."""

    ENFORCER = "as the enforcer"
    """For the packets that are under way, and for a socket that is opened and closed for each."""
    ONE_SOCKET = "through one socket"
    """For the packets alone: a kernel that closes a socket after something was deleted waits as well, some kernels do not."""
    AT_ONCE = "at once"
    """For nothing."""


class Kernels:
    """Carries transactions out in named network namespaces, one call at a time; a context manager.

    Its process is killed when this process ends, however it ends, and when the thread that entered the context ends.
    """

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_end_with,
            initargs=(os.getpid(),),
        )

    def __enter__(self) -> Self:
        # The first call starts the process, and the kernel's death signal comes when the thread that did so ends: it is
        # not to be one of a pool that happens to call first.
        self._process.submit(_nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.shutdown()

    def run(self, namespace: str, transactions: Sequence[Transaction]) -> None:
        """Carry the transactions out in order. Raises NftRejectedError."""
        self._process.submit(_run, namespace, tuple(transactions)).result()

    def repeat(self, namespace: str, transactions: Sequence[Transaction], rounds: int, pace: Pace) -> None:
        """Carry the transactions out in order, round and round. Raises NftRejectedError."""
        self._process.submit(_repeat, namespace, tuple(transactions), rounds, pace).result()

    def held(self, namespace: str, tables: Sequence[TableName]) -> tuple[Table | None, ...]:
        """What the kernel holds of each table; None where there is none. Raises ReadError for a foreign object in one."""
        return self._process.submit(_held, namespace, tuple(tables)).result()

    def forget_connections(self, namespace: str) -> None:
        """Empty the connection table: what was allowed would otherwise go on, since only first packets are judged."""
        self._process.submit(_forget, namespace).result()


def _end_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
    if os.getppid() != parent:
        # It ended before the kernel was asked to tell.
        os.kill(os.getpid(), signal.SIGKILL)


def _nothing() -> None:
    pass


def _run(namespace: str, transactions: tuple[Transaction, ...]) -> None:
    with inside(namespace):
        nft = LibNft()
        for transaction in transactions:
            nft.run(transaction)


class _OneSocket(LibNft):
    """One context of libnftables, and so one socket, for all transactions."""

    def __init__(self) -> None:
        super().__init__()
        context = self._open()
        self._open = lambda: context


class _AtOnce(_OneSocket):
    """Nor is there a wait for packets."""

    def run(self, transaction: Transaction) -> None:
        self._carry_out(transaction, self._open())


PACED: Final[Mapping[Pace, Callable[[], LibNft]]] = {
    Pace.ENFORCER: LibNft,
    Pace.ONE_SOCKET: _OneSocket,
    Pace.AT_ONCE: _AtOnce,
}


def _repeat(namespace: str, transactions: tuple[Transaction, ...], rounds: int, pace: Pace) -> None:
    with inside(namespace):
        nft = PACED[pace]()
        for _ in range(rounds):
            for transaction in transactions:
                nft.run(transaction)


def _held(namespace: str, tables: tuple[TableName, ...]) -> tuple[Table | None, ...]:
    with inside(namespace):
        nft = LibNft()
        return tuple(nft.list_table(table.family, table.name) for table in tables)


def _forget(namespace: str) -> None:
    with inside(namespace), NFCTSocket() as conntrack:
        conntrack.flush()
