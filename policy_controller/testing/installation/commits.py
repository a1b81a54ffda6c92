"""When a kernel committed nftables transactions: the times of its notifications.

Knows nfnetlink's header. Knows nothing of what was committed. Source: include/uapi/linux/netfilter/nfnetlink.h and
nf_tables.h of the kernel.
"""

import socket
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.laboratory import inside

NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NFNLGRP_NFTABLES: Final = 7
NEWGEN: Final = (10 << 8) | 15
"""Subsystem nftables, message NFT_MSG_NEWGEN: sent once at the end of each transaction."""

HEADER: Final = struct.Struct("=IHHII")
BUFFER: Final = 1 << 20
PATIENCE: Final = 0.2
"""Seconds after which a wait looks whether it should end."""


class Commits:
    """Listens in a network namespace while it is open; a context manager.

    A thread of its own takes the times, since an event loop that also probes would take them late.
    """

    def __init__(self, namespace: str) -> None:
        self._times: list[float] = []
        self._closing = threading.Event()
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.settimeout(PATIENCE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self._thread = threading.Thread(target=self._listen, name=f"commits-{namespace}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def between(self, first: float, last: float) -> tuple[float, ...]:
        """Times of commits (time.monotonic()) after `first` and not after `last`, in order."""
        return tuple(moment for moment in tuple(self._times) if first < moment <= last)

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                message = self._socket.recv(BUFFER)
            except OSError:
                # The wait is over, or (ENOBUFS) notifications were lost: then there is no time to show for them.
                continue
            now = time.monotonic()
            while len(message) >= HEADER.size:
                length, kind, _, _, _ = HEADER.unpack_from(message)
                if kind == NEWGEN:
                    self._times.append(now)
                message = message[max((length + 3) & ~3, HEADER.size) :]
