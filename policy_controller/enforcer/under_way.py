"""Packets that are under way: none of them may meet two transactions.

The kernel judges a packet by the rules of one generation, and keeps two. A packet that is held up (its processor serves
an interrupt, or is itself not served by its host) while two transactions are committed would walk the rules of before
the first and see the elements of the second, which only rules of after the first may see. Knows how to wait for such
packets. Knows nothing of what transactions are for.
"""

import ctypes
import logging
import os
import platform
import time
from collections.abc import Mapping
from threading import Thread
from typing import Final

from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
    Transaction,
)

log = logging.getLogger(__name__)

LIBC: Final = ctypes.CDLL(None, use_errno=True)
MEMBARRIER: Final[Mapping[str, int]] = {"x86_64": 324, "aarch64": 283}
"""Number of the system call, which libc has no name for, by machine."""
GLOBAL: Final = 1
LONG_SECONDS: Final = 0.1
"""Longer than a packet takes, unless its processor stands still; where the kernel cannot be asked."""


class PacketsUnderWay:
    """Waits for the packets of a moment, beside whatever happens until somebody needs them to be through."""

    def __init__(self) -> None:
        self._waiting: Thread | None = None

    def note(self) -> None:
        """From now on new packets are judged otherwise."""
        self._waiting = Thread(target=_pass_all, name="packets-under-way", daemon=True)
        self._waiting.start()

    def wait(self) -> None:
        """Return when every packet that was under way at the last `note` has been judged; some 10 ms after it."""
        if self._waiting is not None:
            self._waiting.join()
            self._waiting = None


def changes_verdicts(transaction: Transaction) -> bool:
    """Whether packets may be judged otherwise: not if it only adds sets and chains, and fills those that it adds."""
    sets: set[str] = set()
    chains: set[str] = set()
    for command in transaction.commands:
        match command:
            case AddTable():
                pass
            case AddSet() | AddMap():
                sets.add(command.declaration.name)
            case AddChain(hook=None):
                chains.add(command.name)
            case AddElements() if command.name in sets:
                pass
            case AddRule() if command.chain in chains:
                pass
            case _:
                return True
    return False


def _pass_all() -> None:
    # membarrier(2), MEMBARRIER_CMD_GLOBAL: the kernel carries it out as a grace period of RCU, inside of which hooks run.
    # With one processor it does nothing, and nothing is to be done: whoever calls it is not judging a packet.
    number = MEMBARRIER.get(platform.machine())
    if number is not None and LIBC.syscall(number, GLOBAL, 0, 0) == 0:
        return
    reason = "" if number is None else f" ({os.strerror(ctypes.get_errno())})"
    log.debug("the kernel cannot be asked to wait for packets%s: waiting %.1f s", reason, LONG_SECONDS)
    time.sleep(LONG_SECONDS)
