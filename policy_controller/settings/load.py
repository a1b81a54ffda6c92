"""Effective settings: the first place that says a value counts: flag, variable, file, default.

Knows the order of the places and the errors of each. Knows no flag parser (flags.py).
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from compilers.model.faults import InvalidField, path_text
from policy_controller.settings.faults import InvalidSettings, SettingFault
from policy_controller.settings.file import Entry
from policy_controller.settings.table import Derived, Row, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Sources:
    """What was said where. `flags` by field name; a variable that is empty counts as not set."""

    flags: Mapping[str, str]
    environment: Mapping[str, str]
    file: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Effective(Generic[S]):
    """The settings, and where each comes from: by field name, a flag, a variable, `FILE:LINE: KEY`, or words that begin with `default`."""

    settings: S
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Said:
    value: Any
    origin: str


def load(table: Table[S], sources: Sources) -> Effective[S]:
    """The effective settings of a program; raises InvalidSettings with every fault that there is."""
    rows = table.rows()
    faults = list(_unknown(rows, sources.file))
    said: dict[str, _Said] = {}
    for row in rows:
        try:
            said[row.name] = _said(table, row, sources)
        except InvalidSettings as fault:
            faults += fault.faults
    if faults:
        raise InvalidSettings(faults)
    try:
        settings = table.settings(**{name: one.value for name, one in said.items()})
    except InvalidField as fault:
        key = path_text(fault.path)
        places = (said[row.name].origin for row in rows if row.key == key)
        where = next((place for place in places if not place.startswith(DEFAULT)), key)
        raise InvalidSettings([SettingFault(where, fault.reason)]) from None
    return Effective(settings, {name: one.origin for name, one in said.items()})


def _said(table: Table[S], row: Row, sources: Sources) -> _Said:
    if (flag := sources.flags.get(row.name)) is not None:
        return _read(row, flag, row.flag)
    for variable in table.variables(row):
        if text := sources.environment.get(variable):
            return _read(row, text, variable)
    if (entry := sources.file.get(row.key)) is not None:
        return _take(row, entry)
    if row.may_be_absent:
        return _Said(None, DEFAULT)
    text = row.default_in(sources.environment)
    derived = f" from {row.default.words}" if isinstance(row.default, Derived) else ""
    if text is None:
        ways = ", ".join((row.flag, *table.variables(row), f"{row.key} in a file"))
        otherwise = derived and f", or{derived}"
        raise InvalidSettings([SettingFault(row.key, f"is missing: say it by one of {ways}{otherwise}")])
    return _read(row, text, f"{DEFAULT}{derived}")


def _read(row: Row, text: str, where: str) -> _Said:
    try:
        # What the system gives that is not UTF-8 could be in no file, nor be printed to be fed back.
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSettings([SettingFault(where, "is not UTF-8")]) from None
    try:
        return _Said(row.kind.read(text), where)
    except ValueError as fault:
        raise InvalidSettings([SettingFault(where, str(fault))]) from None


def _take(row: Row, entry: Entry) -> _Said:
    if entry.value is None and row.may_be_absent:
        return _Said(None, entry.where)
    try:
        return _Said(row.kind.take(entry.value), entry.where)
    except ValueError as fault:
        raise InvalidSettings([SettingFault(entry.where, str(fault))]) from None


def _unknown(rows: tuple[Row, ...], file: Mapping[str, Entry]) -> Iterator[SettingFault]:
    keys = [row.key for row in rows]
    for key, entry in file.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            yield SettingFault(
                entry.where, f"is no setting (nearest: {near[0]})" if near else "is no setting"
            )
