"""docs/settings.md, made from the programs' tables: `python -m policy_controller.cli.settings_page`.

Knows both tables and Markdown. A test compares the page with what this makes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from policy_controller.controller.settings import TABLE as OPERATOR
from policy_controller.enforcer.settings import TABLE as ENFORCER
from policy_controller.settings.flags import default_words
from policy_controller.settings.table import Row, Table

if TYPE_CHECKING:
    AnyTable = Table[Any]

PAGE: Final = Path(__file__).parents[2] / "docs" / "settings.md"

BEGINNING: Final = """\
# Settings

This page is made from the tables in `controller/settings.py` and `enforcer/settings.py` by
`.venv/bin/python -m policy_controller.cli.settings_page`.

Each setting can be said in three places. The first that says it counts: the flag, then the variable, then the file; else the default
holds. A variable that is empty counts as not set. A key that is no setting, a key that stands twice and a value of the wrong type are
errors that name file, line and key; all faults are told at once, and nothing is started.

- Flags are the names with hyphens: `logFormat` is `--log-format`.
- Variables are the names in capitals behind `OPERATOR_` or `ENFORCER_`: `OPERATOR_LOG_FORMAT`. A few that Kubernetes or its tools
  set are read as well; the tables have them.
- Files are YAML, one mapping of names in camelCase; a list is a list there, and words with commas elsewhere. They are named by
  `--config`, or by `OPERATOR_CONFIG` and `ENFORCER_CONFIG`.

`--print-config` prints the effective settings, says where each comes from, and ends. What it prints is a file that can be given
to `--config`:

```
$ OPERATOR_LOG_LEVEL=debug policy-controller --relist-seconds 60 --print-config
# The settings of policy-controller, and where each comes from.
kubeconfig: null  # default
…
relistSeconds: 60  # --relist-seconds
…
logLevel: "debug"  # OPERATOR_LOG_LEVEL
```
"""


def page() -> str:
    """The whole page."""
    return "\n".join((BEGINNING, _section("The operator", OPERATOR), _section("The enforcer", ENFORCER)))


def _section(title: str, table: "AnyTable") -> str:
    lines = [
        f"## {title}",
        "",
        f"`{table.program}`",
        "",
        "| in a file | value | default | variables | what it is |",
        "|---|---|---|---|---|",
    ]
    lines += [_line(table, row) for row in table.rows()]
    return "\n".join((*lines, ""))


def _line(table: "AnyTable", row: Row) -> str:
    variables = ", ".join(f"`{variable}`" for variable in table.variables(row))
    value = row.kind.called.replace("|", "\\|")
    return f"| `{row.key}` | `{value}` | {default_words(row)} | {variables} | {row.help} |"


@click.command()
def main() -> None:
    """Write docs/settings.md anew."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
