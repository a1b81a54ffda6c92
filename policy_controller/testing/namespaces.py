"""A network namespace of one's own, for whatever must not touch the machine's.

Knows threads and namespaces. The namespace has no name and no file: it ends with its last user.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

CLONE_NEWNET: Final = 0x40000000

Result = TypeVar("Result")


def _enter_new_network() -> None:
    # os.unshare comes with Python 3.12. It changes the calling thread alone.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare(CLONE_NEWNET): {os.strerror(number)}")


class PrivateNamespace:
    """Runs callables in a fresh network namespace, one at a time, in a thread that lives there.

    Used as a context manager: `with PrivateNamespace() as network: network.run(work)`. Needs CAP_SYS_ADMIN;
    without it `__enter__` raises OSError. Leaving ends the thread and with it the namespace.
    """

    def __init__(self) -> None:
        """Prepare the thread; the namespace begins with `with`."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="private-network")

    def __enter__(self) -> Self:
        """Start the thread and move it into its namespace."""
        try:
            self.run(_enter_new_network)
        except OSError:
            self._thread.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the thread to end."""
        self._thread.shutdown()

    def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` in the namespace and return its result or raise its exception."""
        return self._thread.submit(work).result()
