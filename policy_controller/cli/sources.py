"""PATH arguments: files, directories and standard input, read into one cluster.

Knows the file system. Knows nothing of what a command does with the cluster.
"""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from compilers.model.faults import Fault
from compilers.parse.cluster import ParsedCluster, parse_cluster
from compilers.parse.source import Document, read_documents
from policy_controller.cli.output import printable

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
STANDARD_INPUT: Final = "-"


class UnreadableInputError(click.ClickException):
    """A file or folder that is there and cannot be read; ends a command as broken input does."""

    exit_code = 2


class PathType(click.ParamType[str]):
    """A PATH argument: an existing file or directory, or `-`."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path; usage error when there is nothing there."""
        if value == STANDARD_INPUT:
            return value
        with _reading(value):
            if not Path(value).exists():
                self.fail(f"{printable(value)}: no such file or directory", param, ctx)
        return value


def read_paths(paths: Iterable[str]) -> tuple[tuple[Document, ...], tuple[Fault, ...]]:
    """Every document of all paths, and the faults of those that are broken, in the order of the files.

    Raises UnreadableInputError for a file or folder that the system does not let be read.
    """
    documents: list[Document] = []
    faults: list[Fault] = []
    for name, text in _texts(paths):
        found = read_documents(text, name)
        documents += found.documents
        faults += found.faults
    return tuple(documents), tuple(faults)


def read_cluster(paths: Iterable[str], namespace: str = "default") -> tuple[ParsedCluster, tuple[Fault, ...]]:
    """The cluster that all paths describe together, and all faults found on the way.

    Objects that name no namespace get `namespace`.
    """
    documents, faults = read_paths(paths)
    parsed = parse_cluster(documents, namespace)
    return parsed, (*faults, *parsed.faults)


def _texts(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == STANDARD_INPUT:
            with _reading("<stdin>"):
                yield "<stdin>", _standard_input().decode("utf-8", "surrogateescape")
            continue
        with _reading(path):
            for file in _files(Path(path)):
                yield os.fspath(file), file.read_bytes().decode("utf-8", "surrogateescape")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else name
        raise UnreadableInputError(printable(f"{where}: {error.strerror}")) from None


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return sys.stdin.buffer.read()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = [
        Path(folder, name) for folder, _, names in os.walk(path, onerror=_not_passed_over) for name in names
    ]
    # A link that leads nowhere is read too, and told: what it should have held may have closed something.
    yield from sorted(file for file in found if file.suffix in SUFFIXES)


def _not_passed_over(error: OSError) -> None:
    raise error
