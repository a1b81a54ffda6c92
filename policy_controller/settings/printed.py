"""`--print-config`: the effective settings as a file that can be fed back, each with where it comes from.

Knows YAML's quotes. Whatever a value holds, the text is printable ASCII.
"""

from typing import TYPE_CHECKING, TypeVar

from policy_controller.logs.safe import safe
from policy_controller.settings.kinds import Plain
from policy_controller.settings.load import Effective
from policy_controller.settings.table import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


def printed(table: Table[S], effective: Effective[S]) -> str:
    """One line a setting: `listen: "[::]:9473"  # default`."""
    lines = [
        f"{row.key}: {_yaml(row.show(getattr(effective.settings, row.name)))}  # {safe(effective.origins[row.name])}\n"
        for row in table.rows()
    ]
    return "".join([f"# The settings of {table.program}, and where each comes from.\n", *lines])


def _yaml(value: Plain) -> str:
    match value:
        case None:
            return "null"
        case str():
            return f'"{"".join(map(_escaped, value))}"'
        case list():
            return f"[{', '.join(map(_yaml, value))}]"
        case _:
            return str(value)


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    # YAML 1.1, section 5.6: escapes of 8, 16 and 32 bits.
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
