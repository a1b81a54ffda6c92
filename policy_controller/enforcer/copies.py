"""Copies of our tables, which judge beside them while they are replaced.

Knows what makes and deletes them. Knows nothing of when that is (kernel.py).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from compilers.nftables.base import TABLE
from compilers.nftables.table import Table, TableName
from compilers.nftables.transaction import AddTable, Command, DeleteTable, install

COPY: Final = f"{TABLE}-copy"
"""Name of the tables that judge beside ours while ours are replaced."""


def copies_of(tables: Iterable[Table]) -> tuple[Command, ...]:
    """What makes a copy of each, which judges as it does."""
    return tuple(command for one in tables for command in install(replace(one, name=COPY)).commands)


def without_copies(tables: Iterable[Table]) -> tuple[Command, ...]:
    """Also where there is none: what is not there cannot be deleted, and what was just added can."""
    names = [TableName(one.family, COPY) for one in tables]
    return tuple(command for name in names for command in (AddTable(name), DeleteTable(name)))
