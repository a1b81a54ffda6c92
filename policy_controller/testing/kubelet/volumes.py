"""Volumes as directories: their files are changed all at once, by the swap of one link, as a kubelet does it.

Knows directories, links and modes. Where content comes from is contents.py's.
"""

import itertools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

CURRENT: Final = "..data"
"""The link to the directory that holds the files; every file beside it is a link through it."""
NEXT: Final = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume. `owner` None: root."""

    content: bytes
    mode: int
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a volume holds, by path within it. `group`: the pod's fsGroup, which may read all of it."""

    files: Mapping[str, File]
    group: int | None = None


class VolumeError(ValueError):
    """A path that leads out of its volume."""


class VolumeDirectory:
    """The directory of one volume with content."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        # mkdir's mode is less the umask, and a container of another user must come in.
        path.chmod(0o755)
        self.path: Final = path
        self._numbers = itertools.count(1)
        self._held: Content | None = None

    def hold(self, content: Content) -> bool:
        """Make the directory hold exactly this; whoever reads meanwhile sees all of the old or all of the new.

        Returns whether anything changed. Raises VolumeError.
        """
        if content == self._held:
            return False
        fresh = self.path / f"..{next(self._numbers)}"
        for name, file in content.files.items():
            _write(fresh, _inside(name), file, content.group)
        fresh.mkdir(exist_ok=True)
        fresh.chmod(0o755)
        current, following = self.path / CURRENT, self.path / NEXT
        old = current.resolve() if current.is_symlink() else None
        following.symlink_to(fresh.name)
        following.replace(current)
        self._link({_inside(name).parts[0] for name in content.files})
        if old is not None:
            shutil.rmtree(old)
        self._held = content
        return True

    def _link(self, names: set[str]) -> None:
        for entry in self.path.iterdir():
            if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
                entry.unlink()
        for name in names:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"{CURRENT}/{name}")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0].startswith(".."):
        raise VolumeError(f"{name!r} is no path within a volume")
    return path


def _write(directory: Path, name: PurePosixPath, file: File, group: int | None) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in (directory, *(directory / one for one in name.parents)):
        parent.chmod(0o755)
    path.touch(mode=0o600)
    path.write_bytes(file.content)
    os.chown(path, file.owner or 0, group or 0)
    # API, fsGroup: "the permission bits are OR'd with rw-rw----"; a volume that is read-only gives its group no more than r.
    path.chmod(file.mode | 0o440 if group is not None else file.mode)
