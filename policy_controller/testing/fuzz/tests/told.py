"""What is shared by the tests: how they count, and what an error may say.

Knows no reader.
"""

from collections.abc import Callable
from typing import Final

Record = Callable[[str, object], None]
COUNTED: Final = "hostile inputs tried on readers"
ACCEPTED: Final = "of them accepted, written and read again"


def check_told(error: Exception) -> None:
    """What is refused is refused in words that are fit to print, each fault on a line of its own."""
    assert str(error)
    assert str(error).replace("\n", "").isprintable()
