"""What is wrong with settings: each fault names the place where the value was said.

Knows how faults are named and gathered. Knows nothing of what makes a value wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from policy_controller.logs.safe import safe


@dataclass(frozen=True, slots=True)
class SettingFault:
    """`where` is a flag, a variable, or `FILE:LINE: KEY`."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class InvalidSettings(ValueError):  # noqa: N818 - as InvalidField
    """Settings that are not accepted, all faults on lines of their own; the text is safe to print."""

    def __init__(self, faults: Iterable[SettingFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(safe(str(fault)) for fault in self.faults))
