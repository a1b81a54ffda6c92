"""A directory in memory that forgets at a loss of power what was not flushed, and fails when a test wants it to.

Knows what a file system promises and no more: after a loss of power an unflushed file holds nothing, a part or all of
what was written, and of the unflushed changes of names the first so many are there. Knows nothing of what is kept.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

from policy_controller.enforcer.disk import TooLargeError

Names = dict[str, "_Content"]


class PowerLossError(BaseException):
    """The power went before this step; nothing of the program runs any more."""


@dataclass(eq=False)
class _Content:
    """A file, whatever it is called: what was written, and what of it was flushed."""

    written: bytes = b""
    flushed: bytes = b""

    def survivors(self) -> tuple[bytes, ...]:
        """What may be left of it after a loss of power."""
        if self.written == self.flushed:
            return (self.written,)
        return (b"", self.written[: len(self.written) // 2], self.written)


@dataclass
class FakeDisk:
    """One directory. `steps` counts what was asked of it, but reading."""

    names: Names = field(default_factory=dict)
    flushed_names: list[Names] = field(default_factory=lambda: [{}])
    """The names as they were last flushed, and after each change since."""
    steps: int = 0
    fails_at: int | None = None
    """The number of the step that fails, from 1 on."""
    failure: BaseException | None = None
    """How: OSError by default ENOSPC, or PowerLossError."""

    def __str__(self) -> str:
        return "a disk of the tests"

    @contextmanager
    def existing(self) -> Iterator["FakeDisk"]:
        """It is there."""
        yield self

    made = existing

    def read(self, name: str, most: int) -> bytes:
        """The content. Raises FileNotFoundError, and TooLargeError for more than `most` bytes."""
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        content = self.names[name].written
        if len(content) > most:
            raise TooLargeError
        return content

    def create(self, name: str) -> "FakeFile":
        """A new file. Raises FileExistsError."""
        self.step()
        if name in self.names:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        content = _Content()
        self._changed({**self.names, name: content})
        return FakeFile(self, content)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of whatever has it. Raises FileNotFoundError."""
        self.step()
        if old not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", old)
        names = {**self.names, new: self.names[old]}
        del names[old]
        self._changed(names)

    def flush(self) -> None:
        """The names outlive a loss of power from now on."""
        self.step()
        self.flushed_names = [self.names]

    def remove(self, name: str) -> None:
        """Remove a file, if there is one of this name."""
        self.step()
        if name in self.names:
            self._changed({other: content for other, content in self.names.items() if other != name})

    def after_power_loss(self) -> Iterator["FakeDisk"]:
        """Every directory that may be found when the power comes back."""
        for names in self.flushed_names:
            for left in product(*(content.survivors() for content in names.values())):
                survived = {name: _Content(kept, kept) for name, kept in zip(names, left, strict=True)}
                yield FakeDisk(survived, [survived])

    def step(self) -> None:
        """One step is asked for; raises what the test wants."""
        self.steps += 1
        if self.steps == self.fails_at:
            raise self.failure or OSError(errno.ENOSPC, "No space left on device")

    def _changed(self, names: Names) -> None:
        self.names = names
        self.flushed_names.append(names)


class FakeFile:
    """A file of it that is being written."""

    def __init__(self, disk: FakeDisk, content: _Content) -> None:
        self._disk = disk
        self._content = content

    def write(self, content: bytes) -> None:
        """Add the content; a step that fails has written the first half."""
        try:
            self._disk.step()
        except BaseException:
            self._content.written += content[: len(content) // 2]
            raise
        self._content.written += content

    def flush(self) -> None:
        """The content outlives a loss of power from now on."""
        self._disk.step()
        self._content.flushed = self._content.written

    def close(self) -> None:
        """No more is written."""
