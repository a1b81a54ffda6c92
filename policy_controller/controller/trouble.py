"""Why the operator does not serve what the cluster says, told for two kinds of readers.

Knows which words anybody may read. Knows nothing of what goes wrong, nor of HTTP.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sentence that names no object of a tenant, and the words of whoever refused, which may name one."""

    sentence: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.sentence} {self.cause}".rstrip()
