"""The binding: found or named, and its sentences turned into typed rejections."""

import subprocess
import sys
from pathlib import Path

import pytest

from compilers.nftables.table import TableName
from compilers.nftables.transaction import AddTable, DeleteTable, Rejection, Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer import libnftables
from policy_controller.enforcer.libnftables import BindingMissingError, LibNft, rejection

T = TableName(TableFamily.INET, "t")
TWO = Transaction((AddTable(T), DeleteTable(T)))


def test_a_missing_binding_names_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libnftables, "BINDING", tmp_path / "nftables.py")
    with pytest.raises(BindingMissingError, match="install python3-nftables"):
        LibNft()


def test_the_distributions_packages_stay_out_of_the_path() -> None:
    LibNft()

    assert not any("dist-packages" in entry for entry in sys.path)
    assert "nftables" not in sys.modules


# What libnftables 1.0.6 writes, and what is understood.
SENTENCES = [
    ("/proc/self/fd/5:2:8-9: Error: Could not process rule: File exists\nx\n", Rejection.EXISTS, 1),
    ("/proc/self/fd/5:1:8-9: Error: No such file or directory; did you mean table ‘u’ in family inet?\n", Rejection.MISSING, 0),
    ("netlink: Error: set is not a map\n", Rejection.INVALID, None),
    ("netlink: Error: cache initialization failed: Operation not permitted\n", Rejection.OTHER, None),
    ("Error: Could not process rule: Device or resource busy\n", Rejection.BUSY, None),
    ("/proc/self/fd/5:9:8-9: Error: syntax error, unexpected newline\n", Rejection.INVALID, None),
    ("", Rejection.OTHER, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "index"), SENTENCES)
def test_a_sentence_becomes_a_reason_and_a_command(text: str, reason: Rejection, index: int | None) -> None:
    found = rejection(text, TWO)

    assert (found.reason, found.index) == (reason, index)
    assert found.command == (TWO.commands[index].text() if index is not None else None)
    assert "did you mean" not in found.message


@pytest.mark.kernel
def test_without_the_right_to_a_transaction_is_refused_and_told() -> None:
    program = (
        "from policy_controller.enforcer.libnftables import LibNft\n"
        "from compilers.nftables.transaction import AddTable, NftRejectedError, Transaction\n"
        "from compilers.nftables.table import TableName\n"
        "from compilers.nftables.words import TableFamily\n"
        "try:\n"
        "    LibNft().run(Transaction((AddTable(TableName(TableFamily.INET, 't')),)))\n"
        "except NftRejectedError as error:\n"
        "    print(error.reason.value, error.message)\n"
    )
    without = ["unshare", "--net", "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]

    command = [*without, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program

    assert done.stdout == "other Operation not permitted\n", done.stderr
