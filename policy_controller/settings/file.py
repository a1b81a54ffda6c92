"""The file of settings: YAML, one mapping of names in camelCase.

Knows how the file is read and where each key stands. Knows nothing of what a value means.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compilers.model.faults import quoted
from compilers.parse.places import Place, part
from compilers.parse.tree import TreeBuilder, UnreadableDocumentError
from policy_controller.settings.faults import InvalidSettings, SettingFault

LARGEST: Final = 1 << 20
"""Bytes. Nobody writes so many settings by hand."""
_NOT_YAML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
"""What c-printable of YAML 1.1, section 5.1, leaves out of UTF-8."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, and where the key stands: `FILE:LINE: KEY`."""

    value: object
    where: str


def read_file(path: Path) -> Mapping[str, Entry]:
    """Every key of the file in its order; an empty file has none. Raises InvalidSettings."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as fault:
        raise InvalidSettings([SettingFault(str(path), fault.strerror or str(fault))]) from None
    if len(content) > LARGEST:
        raise InvalidSettings([SettingFault(str(path), f"has more than {LARGEST} bytes")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSettings([SettingFault(str(path), "is not UTF-8")]) from None
    if (illegal := _NOT_YAML.search(text)) is not None:
        line = text.count("\n", 0, illegal.start()) + 1
        raise InvalidSettings([SettingFault(f"{path}:{line}", f"holds the character {illegal[0]!a}")])
    try:
        documents = TreeBuilder(text).documents()
    except UnreadableDocumentError as fault:
        raise InvalidSettings([SettingFault(f"{path}:{fault.line}", fault.reason)]) from None
    if len(documents) > 1:
        second = documents[1][1].line
        raise InvalidSettings([SettingFault(f"{path}:{second}", "begins a second document")])
    return {} if not documents else _entries(path, *documents[0])


def _entries(path: Path, value: object, place: Place) -> Mapping[str, Entry]:
    if value is None:
        # Nothing but comments is how a file begins.
        return {}
    if not isinstance(value, dict) or not isinstance(place.inner, dict):
        raise InvalidSettings([SettingFault(f"{path}:{place.line}", "is not a mapping of settings")])
    entries = {}
    for key, held in value.items():
        # `on:` is a boolean to YAML and `80:` a number; neither is a setting's name.
        name = str(part(key))
        shown = name if name.isalnum() and name.isascii() else quoted(name)
        entries[name] = Entry(held, f"{path}:{place.inner[name].line}: {shown}")
    return entries
