"""Whose laboratory is it, and is its owner alive: cleaning up that survives SIGKILL.

Every laboratory has a file under /run/policy-laboratory on which its owner holds a lock. The kernel
lets go of the lock when the owner ends, however it ends. Two look out for that: a janitor process
of its own session, which waits for the lock and cleans up at once, and `sweep()` at the start of the
next laboratory, in case the janitor was killed too.

Only the standard library is imported: the janitor runs this file alone, isolated, so that it starts
fast and does not depend on what happens to the checkout.
"""

import contextlib
import ctypes
import fcntl
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCKS: Final = Path("/run/policy-laboratory")
NAMESPACES: Final = Path("/run/netns")
MNT_DETACH: Final = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """A laboratory's name, and the lock that says its owner lives. Release it after `demolish`."""

    name: str
    lock: int
    janitor: subprocess.Popen[bytes]

    @property
    def prefix(self) -> str:
        """What the names of all its namespaces begin with."""
        return prefix_of(self.name)

    def release(self) -> None:
        """Give the name back. The janitor sees its file gone and ends."""
        (LOCKS / self.name).unlink(missing_ok=True)
        os.close(self.lock)
        self.janitor.wait()


def prefix_of(name: str) -> str:
    """What the names of all namespaces of a laboratory begin with."""
    return f"pc-{name}-"


def claim() -> Claim:
    """A name no other laboratory has, locked to this process, with a janitor waiting for its end."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    while True:
        name = secrets.token_hex(3)
        try:
            lock = os.open(LOCKS / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:  # else a sweep took the file between its creation and the lock
            break
        os.close(lock)
    janitor = subprocess.Popen(  # noqa: S603 - our own interpreter and this very file
        [sys.executable, "-I", "-S", __file__, name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return Claim(name, lock, janitor)


def sweep() -> tuple[str, ...]:
    """Remove what is left of laboratories whose owner is gone; their names, sorted."""
    names = sorted(path.name for path in LOCKS.iterdir()) if LOCKS.is_dir() else []
    return tuple(name for name in names if _clean_up_after(name, fcntl.LOCK_EX | fcntl.LOCK_NB))


def demolish(prefix: str) -> None:
    """Remove all namespaces with that prefix, and end whoever lives in them."""
    remove_namespaces([path.name for path in sorted(NAMESPACES.glob(f"{prefix}*"))])


def remove_namespaces(names: Iterable[str]) -> None:
    """End every process that lives in one of these namespaces, and remove them."""
    paths = [path for path in (NAMESPACES / name for name in names) if path.exists()]
    _end_inhabitants({(stat.st_dev, stat.st_ino) for stat in map(os.stat, paths)})
    libc = ctypes.CDLL(None, use_errno=True)
    for path in paths:
        libc.umount2(os.fsencode(path), MNT_DETACH)
        path.unlink(missing_ok=True)


def _clean_up_after(name: str, how: int) -> bool:
    """Whether the lock was free and the laboratory still there, and is now removed."""
    try:
        lock = os.open(LOCKS / name, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, how)
        if not os.fstat(lock).st_nlink:
            return False
        demolish(prefix_of(name))
        (LOCKS / name).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _end_inhabitants(namespaces: set[tuple[int, int]]) -> None:
    """SIGKILL to all processes whose network namespace is one of these (device, inode)."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        # A process may end between the listing and the look: then there is nothing to end.
        with contextlib.suppress(OSError):
            stat = os.stat(entry / "ns" / "net")
            if (stat.st_dev, stat.st_ino) in namespaces:
                os.kill(int(entry.name), signal.SIGKILL)


if __name__ == "__main__":
    _clean_up_after(sys.argv[1], fcntl.LOCK_EX)
