"""PATH arguments: files, directories and standard input, read into one cluster.

Knows the file system and how faults are shown. Knows nothing of what a command does with the cluster.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from compilers.model.faults import Fault
from compilers.parse.cluster import ParsedCluster, parse_cluster
from compilers.parse.source import Document, read_documents

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
STANDARD_INPUT: Final = "-"


class PathType(click.ParamType[str]):
    """A PATH argument: an existing file or directory, or `-`."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path; usage error when there is nothing there."""
        if value != STANDARD_INPUT and not Path(value).exists():
            self.fail(f"{printable(value)}: no such file or directory", param, ctx)
        return value


def read_paths(paths: Iterable[str]) -> tuple[tuple[Document, ...], tuple[Fault, ...]]:
    """Every document of all paths, and what could not be read, in the order of the files."""
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


def show_faults(faults: Iterable[Fault], warnings: Iterable[Fault] = ()) -> None:
    """Print each fault and warning on a line of standard error."""
    for fault in faults:
        click.echo(f"error: {printable(str(fault))}", err=True)
    for warning in warnings:
        click.echo(f"warning: {printable(str(warning))}", err=True)


def printable(text: str) -> str:
    """Text from a cluster or a file made harmless for a terminal: control characters are shown, not obeyed."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _texts(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == STANDARD_INPUT:
            yield "<stdin>", sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
            continue
        for file in _files(Path(path)):
            yield os.fspath(file), file.read_bytes().decode("utf-8", "surrogateescape")


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.suffix in SUFFIXES and file.is_file():
            yield file
