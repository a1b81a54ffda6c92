"""What a column is, how ages are told, and cells that many kinds share."""

import datetime
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
UNSET: Final = "<unset>"

Cell = Callable[[JsonObject, datetime.datetime], object]


class Width(enum.Enum):
    """Where a column is shown: its `priority`."""

    ALWAYS = 0
    WIDE = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how it is called, and what an object has in it at a moment."""

    name: str
    cell: Cell
    width: Width = Width.ALWAYS
    type: str = "string"
    format: str = ""

    def definition(self) -> JsonObject:
        """Its `TableColumnDefinition`."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": "",
            "priority": self.width.value,
        }


def shown(name: str, cell: Callable[[JsonObject], object], width: Width = Width.ALWAYS) -> Column:
    """A column whose cells do not depend on the time."""
    return Column(name, lambda body, _: cell(body), width)


def counted(name: str, cell: Callable[[JsonObject], object]) -> Column:
    """A column of numbers."""
    return Column(name, lambda body, _: cell(body), type="integer")


def wide(name: str, cell: Callable[[JsonObject], object]) -> Column:
    """A column of `-o wide`."""
    return shown(name, cell, Width.WIDE)


def at(body: JsonObject, dotted: str, absent: Any = "") -> Any:  # noqa: ANN401 - any JSON value
    """What lies at a path of fields; `absent` when nothing does."""
    value: Any = body
    for step in dotted.split("."):
        value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return absent
    return value


def plain(dotted: str, absent: object = "") -> Callable[[JsonObject], object]:
    """A cell that shows a field as it is."""

    def cell(body: JsonObject) -> object:
        value: object = at(body, dotted, absent)
        return absent if value == "" else value

    return cell


def joined(texts: Sequence[object], absent: str = NONE) -> str:
    """Texts in one cell."""
    return ",".join(str(text) for text in texts) or absent


def pairs(labels: Mapping[str, object]) -> str:
    """Labels in one cell, sorted."""
    return joined([f"{name}={value}" for name, value in sorted(labels.items())])


def selector(given: JsonObject) -> str:
    """A label selector in one cell, in the words of a labelSelector."""
    terms = [f"{name}={value}" for name, value in sorted((given.get("matchLabels") or {}).items())]
    for expression in given.get("matchExpressions") or []:
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or []))
        words = {
            "DoesNotExist": f"!{key}",
            "Exists": key,
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
        }
        terms.append(words.get(expression.get("operator", ""), "<error>"))
    return joined(terms)


def moment(text: object) -> datetime.datetime | None:
    """A time of the API; None when it is none."""
    try:
        return datetime.datetime.fromisoformat(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def since(text: object, now: datetime.datetime) -> str:
    """How long ago a time of the API is, as `kubectl get` tells ages."""
    then = moment(text)
    return UNKNOWN if then is None else human(int((now - then).total_seconds()))


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3_600, 86_400, 365 * 86_400
# From so many seconds on: the larger unit with its word, and the smaller one, if it is still worth telling.
_AGES: Final = (
    (8 * _YEAR, _YEAR, "y", 0, ""),
    (2 * _YEAR, _YEAR, "y", _DAY, "d"),
    (8 * _DAY, _DAY, "d", 0, ""),
    (2 * _DAY, _DAY, "d", _HOUR, "h"),
    (8 * _HOUR, _HOUR, "h", 0, ""),
    (3 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (10 * _MINUTE, _MINUTE, "m", 0, ""),
    (2 * _MINUTE, _MINUTE, "m", 1, "s"),
    (0, 1, "s", 0, ""),
)


def human(seconds: int) -> str:
    """A duration in at most two units."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for least, unit, word, smaller, smaller_word in _AGES:
        if seconds >= least:
            rest = seconds % unit // smaller if smaller else 0
            return f"{seconds // unit}{word}" + (f"{rest}{smaller_word}" if rest else "")
    raise AssertionError(seconds)


def _age(body: JsonObject, now: datetime.datetime) -> object:
    return since(metadata_of(body).get("creationTimestamp"), now)


NAME: Final = Column("Name", lambda body, _: metadata_of(body).get("name", ""), format="name")
AGE: Final = Column("Age", _age)
CREATED: Final = Column("Created At", lambda body, _: metadata_of(body).get("creationTimestamp"), type="date")


def container_columns(template: str) -> tuple[Column, Column]:
    """Names and images of the containers of a pod's spec at this path."""

    def listed(field: str) -> Callable[[JsonObject], object]:
        return lambda body: ",".join(
            str(one.get(field, "")) for one in at(body, f"{template}.containers", [])
        )

    return wide("Containers", listed("name")), wide("Images", listed("image"))
