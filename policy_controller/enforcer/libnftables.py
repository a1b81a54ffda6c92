"""The kernel's nftables through the distribution's own binding of libnftables.

Knows how that binding is found, fed and asked, and what its error text means. Knows nothing of rule sets.
Each call opens its own netlink socket, so it acts on the network namespace of the calling thread.
"""

import ctypes
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from typing import Protocol as Shape

from compilers.nftables.lexer import ReadError
from compilers.nftables.reader import Strangers, read
from compilers.nftables.table import Table, TableName
from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.under_way import PacketsUnderWay, changes_verdicts

BINDING: Final = Path("/usr/lib/python3/dist-packages/nftables/nftables.py")
LIBRARY: Final = "libnftables.so.1"
OLDEST: Final = (1, 0, 6)
"""The version whose words compilers/nftables reads and writes; older ones print and take other words."""

LISTED_AGAIN: Final = 2
"""How many more times a table is listed when it cannot be read."""

ERROR: Final = re.compile(
    r"^(?:[^\n:]*:(?P<line>\d+):\d+-\d+: |netlink: )?Error: (?P<message>[^\n;]*)", re.MULTILINE
)

VERSION: Final = re.compile(r'"metainfo": \{"version": "(\d+)\.(\d+)\.(\d+)"')

# libnftables returns -1 for everything; the sentence is all there is. The first that is found in it decides.
REASONS: Final[Mapping[str, Rejection]] = {
    "No such file or directory": Rejection.MISSING,
    "element does not exist": Rejection.MISSING,
    "File exists": Rejection.EXISTS,
    "interval overlaps with an existing one": Rejection.EXISTS,
    "conflicting intervals specified": Rejection.EXISTS,
    "Device or resource busy": Rejection.BUSY,
    "Cannot allocate memory": Rejection.SHORT,
    "No buffer space available": Rejection.SHORT,
    "Resource temporarily unavailable": Rejection.BUSY,
    "Invalid argument": Rejection.INVALID,
    "Operation not supported": Rejection.INVALID,
    "Too many open files in system": Rejection.FULL,
    "Too many links": Rejection.INVALID,
    "Numerical result out of range": Rejection.INVALID,
    "out of range": Rejection.INVALID,
    "datatype mismatch": Rejection.INVALID,
    "Expression is not a map": Rejection.INVALID,
    "set is not a map": Rejection.INVALID,
    "conflicting protocols specified": Rejection.INVALID,
    "Could not resolve hostname": Rejection.INVALID,
    "syntax error": Rejection.INVALID,
}


class BindingMissingError(RuntimeError):
    """The distribution's binding or library is not installed, or too old; the message names the package."""


class Context(Shape):
    """What is used of the binding's class `Nftables`."""

    def cmd(self, cmdline: str) -> tuple[int, str, str]:
        """Run a command: return code (0 or -1), output, errors."""

    def cmd_from_file(self, filename: str) -> tuple[int, str, str]:
        """Run the commands of a file as one transaction; errors then name the line."""

    def set_dry_run(self, onoff: bool) -> bool:
        """Let the kernel check without committing."""

    def set_stateless_output(self, val: bool) -> bool:
        """Leave counters out."""

    def set_json_output(self, val: bool) -> bool:
        """Print JSON, which begins with what printed it."""

    def set_numeric_proto_output(self, val: bool) -> bool:
        """Print protocols as numbers, whatever /etc/protocols of this host says."""


def _load(path: Path) -> Callable[[], Context]:
    try:
        ctypes.CDLL(LIBRARY)
        spec = importlib.util.spec_from_file_location("policy_controller_distribution_nftables", path)
        if spec is None or spec.loader is None:
            raise BindingMissingError(f"{path} is not a Python module")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except OSError as error:
        raise BindingMissingError(
            f"the nftables binding of the distribution cannot be loaded ({error}): install python3-nftables"
        ) from error
    binding: Callable[[], Context] = module.Nftables
    return binding


def _check_version(context: Context) -> None:
    """Raises BindingMissingError for a library older than OLDEST; one that does not say is taken as it is."""
    context.set_json_output(True)
    # It says so only with an answer, and to whom the kernel answers nothing, preflight tells why.
    _, output, _ = context.cmd("list tables inet")
    found = VERSION.search(output)
    if found is not None and tuple(map(int, found.groups())) < OLDEST:
        raise BindingMissingError(
            f"libnftables is {'.'.join(found.groups())}, and {'.'.join(map(str, OLDEST))} is the oldest that is supported: "
            "install a later libnftables1"
        )


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    # From a file rather than from a buffer, because only then errors say which line, hence which command.
    descriptor = os.memfd_create("transaction")
    try:
        with open(descriptor, "w", encoding="ascii", closefd=False) as file:
            file.write(text)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def rejection(error: str, transaction: Transaction) -> NftRejectedError:
    """Return the typed error for what libnftables wrote when it refused `transaction`."""
    found = ERROR.search(error)
    if found is None:
        return NftRejectedError(Rejection.OTHER, error.strip() or "no reason given")
    message = found["message"].removeprefix("Could not process rule: ")
    reason = next((reason for sentence, reason in REASONS.items() if sentence in message), Rejection.OTHER)
    index = int(found["line"]) - 1 if found["line"] is not None else None
    if index is None or not 0 <= index < len(transaction.commands):
        return NftRejectedError(reason, message)
    return NftRejectedError(reason, message, index, transaction.commands[index].text())


class LibNft:
    """`Nft` on the kernel. Raises BindingMissingError on construction when python3-nftables is absent or too old.

    libnftables lets go of the interpreter lock, so a call may be made from a worker thread; what one call does is
    one netlink transaction.
    """

    def __init__(self) -> None:
        self._open = _load(BINDING)
        _check_version(self._open())
        self._under_way = PacketsUnderWay()

    def run(self, transaction: Transaction) -> None:
        """Commit the transaction, once no packet is judged any more by what an earlier one of this object changed.

        Raises NftRejectedError; then the kernel is as before.
        """
        self._under_way.wait()
        self._carry_out(transaction, self._open())
        if changes_verdicts(transaction):
            self._under_way.note()

    def check(self, transaction: Transaction) -> None:
        """Let nft and the kernel check the transaction and change nothing. Raises NftRejectedError."""
        context = self._open()
        context.set_dry_run(True)
        self._carry_out(transaction, context)

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        """Return the table without state, or None when there is none.

        Rules outside the language are kept as Unreadable. Raises ReadError for other objects outside it, and
        NftRejectedError when the kernel refuses to tell.

        A set without a declared size that has just grown by tens of thousands of elements is listed incompletely for
        some 100 ms, while the kernel moves it to a larger hash table (seen on 6.18; packets find all of it): list
        again before believing that elements are missing.

        While somebody else commits, one listing in a thousand shows a chain twice, as it was and as it is: what cannot be
        read is listed again, twice.
        """
        for _ in range(LISTED_AGAIN):
            with suppress(ReadError):
                return self._list_once(family, name)
        return self._list_once(family, name)

    def _list_once(self, family: TableFamily, name: str) -> Table | None:
        context = self._open()
        context.set_stateless_output(True)
        context.set_numeric_proto_output(True)
        code, output, error = context.cmd(f"list table {TableName(family, name)}")
        if code == 0:
            return read(output, strangers=Strangers.KEEP)
        refused = rejection(error, Transaction())
        if refused.reason is Rejection.MISSING:
            return None
        raise refused

    def _carry_out(self, transaction: Transaction, context: Context) -> None:
        if not transaction.commands:
            return
        with _in_memory(transaction.text()) as path:
            code, _, error = context.cmd_from_file(path)
        if code != 0:
            raise rejection(error, transaction)
