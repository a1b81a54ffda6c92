"""The flags of a program, made from its table: one for each setting, `--config` and `--print-config`.

Knows click. Every value goes on as text: a flag, a variable and a file are told of the same faults in the same words.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from policy_controller.logs.safe import safe
from policy_controller.settings.faults import InvalidSettings
from policy_controller.settings.file import read_file
from policy_controller.settings.load import Sources, load
from policy_controller.settings.printed import printed
from policy_controller.settings.table import Derived, Required, Row, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

CONFIG: Final = "config"
PRINT: Final = "print_config"


def takes_settings(table: Table[S]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a click command: gives it the flags, and calls it with `settings` and what other options it has."""

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(run)
        def command(**options: Any) -> None:  # noqa: ANN401 - options of the command itself
            flags = {row.name: options.pop(row.name) for row in table.rows()}
            file, show = options.pop(CONFIG), options.pop(PRINT)
            try:
                effective = load(table, _sources(table, flags, file))
            except InvalidSettings as fault:
                raise click.UsageError(str(fault)) from None
            if show:
                click.echo(printed(table, effective), nl=False)
                return
            run(settings=effective.settings, **options)

        for option in reversed(_options(table)):
            command = option(command)
        return command

    return decorate


def default_words(row: Row) -> str:
    """The default as documents have it."""
    match row.default:
        case None:
            return "none"
        case Required():
            return "none: must be given"
        case Derived():
            return f"from {row.default.words}"
        case _:
            return f"`{row.default}`"


def _sources(table: Table[S], flags: dict[str, str | None], file: str | None) -> Sources:
    file = file or os.environ.get(f"{table.prefix}_CONFIG") or None
    said = {name: text for name, text in flags.items() if text is not None}
    return Sources(said, os.environ, read_file(Path(file)) if file is not None else {})


def _options(table: Table[S]) -> list[Callable[[Callable[..., None]], Callable[..., None]]]:
    rows = [
        click.option(row.flag, row.name, metavar=row.kind.called, help=_help(table, row))
        for row in table.rows()
    ]
    file = click.option(
        "--config",
        CONFIG,
        metavar="FILE",
        help=f"Settings in YAML, their names in camelCase.  [{table.prefix}_CONFIG]",
    )
    show = click.option(
        "--print-config", PRINT, is_flag=True, help="Print the effective settings as YAML, and end."
    )
    return [*rows, file, show]


def _help(table: Table[S], row: Row) -> str:
    text = f"{row.help}  [{', '.join(table.variables(row))}; default: {default_words(row)}]"
    return safe(text.replace("`", ""))
