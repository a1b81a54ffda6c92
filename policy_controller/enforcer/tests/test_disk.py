"""A file is replaced whole or not at all, and nobody else's is taken for it; in memory and for real."""

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from policy_controller.enforcer.disk import (
    NEXT,
    Disk,
    NotOursError,
    StateDirectory,
    TooLargeError,
    replace_file,
)
from policy_controller.testing.fake_disk import FakeDisk, PowerLossError

NAME = "rule-set"
MOST = 1 << 20
OLD, NEW = b"old" * 1000, b"new" * 2000
STEPS = 7
"""Of a replacement: remove what is left, create, write, flush, rename, flush; and what would come after."""


@pytest.fixture(params=["fake", "real"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "fake":
        yield FakeDisk()
        return
    with StateDirectory(tmp_path / "state").made() as directory:
        yield directory


def test_what_is_written_is_read_again(disk: Disk) -> None:
    for content in (OLD, NEW, b""):
        replace_file(disk, NAME, content)
        assert disk.read(NAME, MOST) == content
        with pytest.raises(FileNotFoundError):
            disk.read(NAME + NEXT, MOST)


def test_a_file_that_is_not_there_is_said_to_be_so(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        disk.read(NAME, MOST)
    with pytest.raises(FileNotFoundError):
        disk.rename(NAME, "other")
    disk.remove(NAME)


def test_a_file_that_is_too_large_is_not_read(disk: Disk) -> None:
    replace_file(disk, NAME, OLD)
    assert disk.read(NAME, len(OLD)) == OLD
    with pytest.raises(TooLargeError):
        disk.read(NAME, len(OLD) - 1)


def test_what_an_earlier_attempt_left_is_in_nobodys_way(disk: Disk) -> None:
    disk.create(NAME + NEXT).close()
    with pytest.raises(FileExistsError):
        disk.create(NAME + NEXT)
    replace_file(disk, NAME, NEW)
    assert disk.read(NAME, MOST) == NEW


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_step_that_fails_leaves_the_old_content_or_the_new_one_and_nothing_else(step: int) -> None:
    disk = FakeDisk()
    replace_file(disk, NAME, OLD)
    disk.fails_at = disk.steps + step
    with pytest.raises(OSError, match="No space left") as caught:
        replace_file(disk, NAME, NEW)
    assert caught.value.errno == errno.ENOSPC
    # Only the flush of the names comes after the new name.
    assert {name: one.written for name, one in disk.names.items()} == {NAME: NEW if step == 6 else OLD}
    replace_file(disk, NAME, NEW)
    assert disk.read(NAME, MOST) == NEW


def left_by_power_losses(replace: Callable[[Disk, str, bytes], None]) -> set[bytes]:
    """What the file may hold after a loss of power before each of the steps, and after the last."""
    found = set()
    for step in range(1, STEPS + 1):
        disk = FakeDisk()
        replace_file(disk, NAME, OLD)
        disk.fails_at, disk.failure = disk.steps + step, PowerLossError()
        with suppress(PowerLossError):
            replace(disk, NAME, NEW)
        found |= {after.read(NAME, MOST) for after in disk.after_power_loss()}
    return found


def test_a_loss_of_power_leaves_the_old_content_or_the_new_one() -> None:
    assert left_by_power_losses(replace_file) == {OLD, NEW}


def test_content_that_is_not_flushed_before_it_gets_its_name_would_be_torn() -> None:
    def hasty(disk: Disk, name: str, content: bytes) -> None:
        file = disk.create(name + NEXT)
        file.write(content)
        disk.rename(name + NEXT, name)
        disk.flush()

    assert left_by_power_losses(hasty) > {OLD, NEW}


def test_a_name_that_is_not_flushed_may_be_lost() -> None:
    def forgetful(disk: Disk, name: str, content: bytes) -> None:
        file = disk.create(name + NEXT)
        file.write(content)
        file.flush()
        disk.rename(name + NEXT, name)

    disk = FakeDisk()
    replace_file(disk, NAME, OLD)
    forgetful(disk, NAME, NEW)
    assert {after.read(NAME, MOST) for after in disk.after_power_loss()} == {OLD, NEW}
    disk = FakeDisk()
    replace_file(disk, NAME, OLD)
    replace_file(disk, NAME, NEW)
    assert {after.read(NAME, MOST) for after in disk.after_power_loss()} == {NEW}


KILLED = """
import json, os, signal, sys
from pathlib import Path
from policy_controller.enforcer import disk

folder, old, new = Path(sys.argv[1]), b"old" * 1000, b"new" * 2000
steps = ("remove", "create", "write", "flush of the file", "rename", "flush of the names", "end")

class Killed:
    def __init__(self, disk, at):
        self._disk, self._at, self._count = disk, at, 0
    def _step(self):
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
    def remove(self, name):
        self._step(); self._disk.remove(name)
    def create(self, name):
        self._step(); return KilledFile(self, self._disk.create(name))
    def rename(self, old, new):
        self._step(); self._disk.rename(old, new)
    def flush(self):
        self._step(); self._disk.flush()

class KilledFile:
    def __init__(self, disk, file):
        self._disk, self._file = disk, file
    def write(self, content):
        self._file.write(content[:1000]); self._disk._step(); self._file.write(content[1000:])
    def flush(self):
        self._disk._step(); self._file.flush()
    def close(self):
        self._file.close()

found = {}
for at, step in enumerate(steps):
    child = os.fork()
    if child == 0:
        with disk.StateDirectory(folder).made() as held:
            disk.replace_file(held, "rule-set", old)
            disk.replace_file(Killed(held, at), "rule-set", new)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with disk.StateDirectory(folder).made() as held:
        content = held.read("rule-set", 1 << 20)
    found[step] = (os.WIFSIGNALED(status), {old: "old", new: "new"}.get(content, "torn"))
print(json.dumps(found))
"""


def test_a_process_that_is_killed_at_any_step_leaves_a_whole_file(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(done.stdout) == {
        "remove": [True, "old"],
        "create": [True, "old"],
        "write": [True, "old"],
        "flush of the file": [True, "old"],
        "rename": [True, "old"],
        "flush of the names": [True, "new"],
        "end": [False, "new"],
    }


def test_only_its_owner_may_read_the_file_and_enter_the_directory(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with StateDirectory(tmp_path / "state").made() as disk:
            replace_file(disk, NAME, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state" / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_bytes(OLD)
    target.chmod(0o600)
    path.symlink_to(target)


def given_away(path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o600)
    os.chown(path, 65534, 65534)


def open_to_all(path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o606)


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def directory(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away and makes devices")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link, "is a symbolic link"),
        (given_away, "belongs to user 65534"),
        (open_to_all, "may be written by others"),
        (fifo, "is not a regular file"),
        (directory, "is not a regular file"),
        (device, "is not a regular file"),
    ],
)
def test_what_another_may_have_written_is_not_read_and_is_replaced(
    tmp_path: Path, make: Callable[[Path], Any], reason: str
) -> None:
    with StateDirectory(tmp_path / "state").made() as disk:
        path = tmp_path / "state" / NAME
        make(path)
        with pytest.raises(NotOursError, match=reason):
            disk.read(NAME, MOST)
        if make is directory:
            with pytest.raises(IsADirectoryError):
                replace_file(disk, NAME, NEW)
            return
        replace_file(disk, NAME, NEW)
        assert disk.read(NAME, MOST) == NEW
        if make is link:
            assert (tmp_path / "state" / "elsewhere").read_bytes() == OLD


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_directory_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    for name, change in (
        ("open", lambda path: path.chmod(0o777)),
        ("given", lambda path: os.chown(path, 65534, 65534)),
    ):
        path = tmp_path / name
        path.mkdir()
        change(path)
        with pytest.raises(NotOursError), StateDirectory(path).existing():
            pass


def test_whoever_only_reads_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), StateDirectory(tmp_path / "state").existing():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_directory_or_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError), StateDirectory(tmp_path / "file").made():
        pass
    with pytest.raises(FileNotFoundError), StateDirectory(tmp_path / "none" / "state").made():
        pass
