"""A file that is replaced whole or not at all, in a directory that only its owner may write.

Knows files, and what a file system promises about them (open(2), rename(2), fsync(2)). Knows nothing of what is in the
file. A fake that loses what was not flushed is in policy_controller/testing/fake_disk.py.
"""

import enum
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

OWNER_ONLY: Final = 0o600
DIRECTORY_MODE: Final = 0o700
OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
NEXT: Final = ".next"
"""Added to a name, the name of the file that is being written."""


class DiskTrouble(enum.Enum):
    """Why a file could not be written; also the label of its counter."""

    FULL = "full"
    READ_ONLY = "read_only"
    MISSING = "missing"
    """The directory is not there and cannot be made."""
    DENIED = "denied"
    HUNG = "hung"
    """The disk has not answered."""
    OTHER = "other"


TROUBLES: Final[Mapping[int | None, DiskTrouble]] = {
    errno.ENOSPC: DiskTrouble.FULL,
    errno.EDQUOT: DiskTrouble.FULL,
    errno.EROFS: DiskTrouble.READ_ONLY,
    errno.ENOENT: DiskTrouble.MISSING,
    errno.EACCES: DiskTrouble.DENIED,
    errno.EPERM: DiskTrouble.DENIED,
}
"""By the number of an OSError; any other is OTHER."""


class NotOursError(Exception):
    """Somebody else may have written it; the text says why."""


class TooLargeError(Exception):
    """It has more bytes than are to be read."""


class NewFile(Protocol):
    """A file that is being written. Every step may raise OSError."""

    def write(self, content: bytes) -> None:
        """Add the content."""
        ...

    def flush(self) -> None:
        """Return when what was written outlives a loss of power."""
        ...

    def close(self) -> None:
        """No more is written."""
        ...


class Disk(Protocol):
    """The files of one directory. Every step may raise OSError."""

    def read(self, name: str, most: int) -> bytes:
        """The content. Raises NotOursError, and TooLargeError for more than `most` bytes."""
        ...

    def create(self, name: str) -> NewFile:
        """A new file that only its owner may read and write. Raises FileExistsError."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of whatever has it."""
        ...

    def flush(self) -> None:
        """Return when the names of files outlive a loss of power."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one of this name."""
        ...


def replace_file(disk: Disk, name: str, content: bytes) -> None:
    """Make the content that of the file. Raises OSError.

    Whatever happens meanwhile, also a loss of power, whoever reads the file then finds the old content or the new one.
    """
    fresh = name + NEXT
    # Of an earlier attempt that did not come to its end.
    disk.remove(fresh)
    try:
        file = disk.create(fresh)
        try:
            file.write(content)
            # Before it gets its name: else the name may outlive a loss of power, and the content not.
            file.flush()
        finally:
            file.close()
        disk.rename(fresh, name)
        disk.flush()
    except OSError:
        # It may take the room that is missing.
        with suppress(OSError):
            disk.remove(fresh)
        raise


class Place(Protocol):
    """Where a directory is, or will be."""

    def existing(self) -> AbstractContextManager[Disk]:
        """The directory for the length of the block. Raises OSError, and NotOursError when others may write there."""
        ...

    def made(self) -> AbstractContextManager[Disk]:
        """The same; it is made when it is not there."""
        ...


class StateDirectory:
    """A directory by its path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    @contextmanager
    def existing(self) -> Iterator["Directory"]:
        """The directory for the length of the block. Raises OSError, and NotOursError when others may write there."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_ours(os.fstat(descriptor))
            yield Directory(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def made(self) -> Iterator["Directory"]:
        """The same; it is made when it is not there, and what should hold it is."""
        with suppress(FileExistsError):
            self._path.mkdir(DIRECTORY_MODE)
        with self.existing() as directory:
            yield directory


class Directory:
    """The real one, by a descriptor: whatever happens to its path, it is the same."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, name: str, most: int) -> bytes:
        """The content. Raises NotOursError, and TooLargeError for more than `most` bytes."""
        try:
            # Not blocking: a FIFO of that name would wait for its writer.
            file = self._open(name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotOursError("is a symbolic link") from error
            raise
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise NotOursError("is not a regular file")
            _check_ours(found)
            with os.fdopen(file, "rb", closefd=False) as reader:
                content = reader.read(most + 1)
        finally:
            os.close(file)
        if len(content) > most:
            raise TooLargeError
        return content

    def create(self, name: str) -> "WrittenFile":
        """A new file that only its owner may read and write. Raises FileExistsError."""
        return WrittenFile(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of whatever has it."""
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def flush(self) -> None:
        """Return when the names of files outlive a loss of power."""
        os.fsync(self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one of this name."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY, dir_fd=self._descriptor)


class WrittenFile:
    """A real file that is being written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, content: bytes) -> None:
        """Add the content."""
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def flush(self) -> None:
        """Return when what was written outlives a loss of power."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """No more is written."""
        os.close(self._descriptor)


def _check_ours(found: os.stat_result) -> None:
    """Raise NotOursError unless only this process's user may write it."""
    if found.st_uid != os.geteuid():
        raise NotOursError(f"belongs to user {found.st_uid}, this is user {os.geteuid()}")
    if found.st_mode & OTHERS_MAY_WRITE:
        raise NotOursError(f"may be written by others (mode {stat.S_IMODE(found.st_mode):o})")
