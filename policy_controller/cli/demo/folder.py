"""The folder of a demo: locked while the demo lives, gone when it ends, and swept by the next when it was killed.

Knows names, locks and folders. Knows nothing of what is put into one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PREFIX: Final = "policy-controller-demo-"


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder among the machine's temporary ones; folders of demos that are gone are removed first."""
    _sweep(Path(tempfile.gettempdir()))
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():  # else a sweep took the folder between its creation and the lock
            break
        os.close(lock)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _sweep(base: Path) -> None:
    for path in sorted(base.glob(f"{PREFIX}*")):
        try:
            # Anybody may make a link of that name in /tmp: only folders of our own are looked at.
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                # The kernel lets go of a lock when its owner ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
