"""Fields that a JSON text gives twice: most decoders keep the last one and say nothing."""

import json
from typing import Any


class _Pairs(list[tuple[str, Any]]):
    """An object as its text has it."""


def duplicate_fields(text: bytes) -> list[str]:
    """The paths of fields that an object of this JSON text has more than once."""
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    _visit(value, "", found)
    return list(dict.fromkeys(found))


def _visit(value: Any, path: str, found: list[str]) -> None:  # noqa: ANN401 - any JSON value
    if isinstance(value, _Pairs):
        seen = set()
        for name, inner in value:
            at = f"{path}.{name}" if path else name
            if name in seen:
                found.append(at)
            seen.add(name)
            _visit(inner, at, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _visit(inner, f"{path}[{index}]", found)
