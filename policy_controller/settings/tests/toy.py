"""A table of settings of every kind, for tests."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compilers.model.faults import InvalidField
from policy_controller.settings import kinds
from policy_controller.settings.table import Derived, Table, optional, setting
from policy_controller.wire.channel import HostPort


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def _service(environment: Mapping[str, str]) -> str | None:
    return environment.get("SERVICE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    node_name: str = setting(kinds.NODE_NAME, "A node.", variable="NODE_NAME")
    operator: HostPort = setting(kinds.HOST_PORT, "An address.", Derived("SERVICE", _service))
    listen: HostPort = setting(kinds.HOST_PORT, "Another.", "[::]:80")
    file: Path | None = optional(kinds.FILE, "A file.")
    text: str | None = optional(kinds.TEXT, "A text.")
    names: tuple[str, ...] | None = optional(kinds.NAMES, "Names.")
    some_seconds: float = setting(kinds.number("SECONDS", 1, 100), "A time.", "5")
    pause: float = setting(kinds.number("SECONDS", 0), "Another time.", "0")
    colour: Colour = setting(kinds.choice(Colour), "A colour.", "red")

    def __post_init__(self) -> None:
        if self.text == "both" and self.file is None:
            raise InvalidField("is missing", ("file",))


TABLE = Table("toy", "TOY", Settings)
