"""The real kubectl, with pods that somebody runs."""

import os
from pathlib import Path

import pytest

from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.client_tools import CommandLine


@pytest.fixture
def client(kubectl: Path, kubeconfig: Path, tmp_path: Path) -> CommandLine:
    return CommandLine(kubectl, kubeconfig, tmp_path, os.defpath)


def writes(door: Door, text: str) -> None:
    with Path(door.logs["main"]).open("a") as log:
        log.write(text)


async def test_logs_are_what_a_container_said(client: CommandLine, door: Door) -> None:
    writes(door, "one\ntwo\nthree\n")
    for words, out in (
        (("-c", "main"), "one\ntwo\nthree\n"),
        (("-c", "main", "--tail", "2"), "two\nthree\n"),
        (("-c", "main", "--tail", "0"), ""),
    ):
        ended = await client.run("logs", "web", *words)
        assert (ended.code, ended.out) == (0, out), ended.err


async def test_logs_are_followed(client: CommandLine, door: Door) -> None:
    async with client.following("logs", "-f", "web", "-c", "main") as following:
        for word in ("one", "two"):
            writes(door, f"{word}\n")
            assert await following.line() == word
