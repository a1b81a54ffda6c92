"""The kernels of a laboratory's nodes, told what to hold from a process of their own.

libnftables waits with select(), which ends the whole process when a descriptor's number reaches 1024; a prober has
thousands open. So a small process with few descriptors enters each node's namespace and speaks to its kernel.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Final, Self

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from compilers.nftables.table import Table, TableName
from compilers.nftables.transaction import Transaction
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.laboratory import inside

PR_SET_PDEATHSIG: Final = 1


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

    def repeat(self, namespace: str, transactions: Sequence[Transaction], rounds: int) -> None:
        """Carry the transactions out in order, round and round, through one socket that stays open.

        `run` opens a socket for each, as the enforcer does. When it is closed after a transaction that deleted something,
        the kernel first waits until no packet can see that any more (nft_rcv_nl_event, some 10 ms). Here the next
        transaction follows within a millisecond. Raises NftRejectedError.
        """
        self._process.submit(_repeat, namespace, tuple(transactions), rounds).result()

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


class _Open(LibNft):
    """libnftables with one context, and so one socket, for all transactions."""

    def __init__(self) -> None:
        super().__init__()
        context = self._open()
        self._open = lambda: context


def _repeat(namespace: str, transactions: tuple[Transaction, ...], rounds: int) -> None:
    with inside(namespace):
        nft = _Open()
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
