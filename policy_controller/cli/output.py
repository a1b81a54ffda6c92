"""What policyctl prints: made harmless for a terminal, and what happens when it cannot be written.

Knows standard output and standard error. Knows nothing of files, nor of what is said.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import click

from compilers.model.faults import Fault


def printable(text: str) -> str:
    """Text from a cluster or a file made harmless for a terminal: control characters are shown, not obeyed."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def show_faults(faults: Iterable[Fault], warnings: Iterable[Fault] = ()) -> None:
    """Print each fault and warning on a line of standard error."""
    for fault in faults:
        click.echo(f"error: {printable(str(fault))}", err=True)
    for warning in warnings:
        click.echo(f"warning: {printable(str(warning))}", err=True)


def show_skipped(skipped: Mapping[str, int]) -> None:
    """Print on standard error how many documents of each kind decide nothing here."""
    for kind, count in skipped.items():
        click.echo(f"skipped: {count} {printable(kind)}", err=True)


@contextmanager
def standard_output() -> Iterator[None]:
    """Surrounds whatever prints a result: a device that is full ends the command with one sentence.

    A pipe whose reader has left is no failure that anybody has to be told: click ends the command for it.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still buffered would be tried again when the interpreter ends, and told as a second failure.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        raise click.ClickException(f"standard output: {error.strerror}") from None
