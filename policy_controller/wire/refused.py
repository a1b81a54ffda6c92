"""What one end says of a message that it does not accept.

Knows how such a refusal is named and made fit for a log. Knows no message.
"""

from typing import Final

from compilers.model.faults import InvalidField, path_text

LONGEST_TEXT: Final = 200
"""Characters of an object's name or a reason; what is longer is cut."""


def plain(text: str) -> str:
    """A hostile string made fit for one line of a log: printable ASCII, at most LONGEST_TEXT characters."""
    shown = "".join(
        character
        if " " <= character <= "~"
        else character.encode("unicode_escape", "replace").decode("ascii")
        for character in text[:LONGEST_TEXT]
    )
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 3] + "..."


class Refused(Exception):  # noqa: N818 - named for what it says, as InvalidField is
    """A message is not accepted, and nothing of it has any effect.

    `object` is the field or part that is wrong, `reason` a sentence about it; both are safe to print.
    """

    def __init__(self, object_: str, reason: str) -> None:
        self.object = plain(object_)
        self.reason = plain(reason)
        super().__init__(f"{self.object}: {self.reason}")

    @classmethod
    def because(cls, fault: InvalidField, whole: str) -> "Refused":
        """The refusal for a wrong field of `whole`."""
        return cls(path_text(fault.path) or whole, fault.reason)
