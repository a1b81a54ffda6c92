"""The real kubectl as a client of a running server."""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.client_tools import CommandLine, Ended

Record = Callable[[str, object], None]
PATIENCE_SECONDS = 10.0
COUNTED = "verbs of kubectl and helm, against the development API server"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server, and kubectl (or helm) as its client; `folder` is for the client's files."""

    server: ApiServer
    client: CommandLine
    folder: Path

    async def run(self, *words: str, stdin: str | None = None) -> Ended:
        return await self.client.run(*words, stdin=stdin)

    async def says(self, *words: str, stdin: str | None = None) -> str:
        """Standard output of a run that succeeds."""
        ended = await self.run(*words, stdin=stdin)
        assert ended.code == 0, ended.err
        return ended.out

    async def complains(self, *words: str, stdin: str | None = None) -> str:
        """Standard error of a run that fails."""
        ended = await self.run(*words, stdin=stdin)
        assert ended.code != 0, ended.out
        return ended.err

    async def applies(self, *documents: dict[str, Any], flags: tuple[str, ...] = ()) -> list[str]:
        """What `kubectl apply` says became of each document: its last word."""
        out = await self.says("apply", "-f", "-", *flags, stdin=yaml.safe_dump_all(documents))
        return [line.split()[-1] for line in out.splitlines()]

    def file(self, *documents: dict[str, Any], name: str = "manifest.yaml") -> str:
        """The path of a file with these documents."""
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as running:
        yield running


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(server.kubeconfig())
    return path


@pytest.fixture
def cluster(kubectl: Path, server: ApiServer, kubeconfig: Path, tmp_path: Path) -> Cluster:
    return Cluster(server, CommandLine(kubectl, kubeconfig, tmp_path, os.defpath), tmp_path)


@pytest.fixture
def releases(helm: Path, server: ApiServer, kubeconfig: Path, tmp_path: Path) -> Cluster:
    return Cluster(server, CommandLine(helm, kubeconfig, tmp_path), tmp_path)


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - any condition, not only those that have an event
            await asyncio.sleep(0.005)


def edited(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the field at a dotted path (numbers are places in lists) set, or removed where the value is None."""
    result: dict[str, Any] = copy.deepcopy(document)
    *steps, last = (int(step) if step.isdecimal() else step for step in path.split("."))
    at: Any = result
    for step in steps:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return result


def found(document: dict[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON value
    """What lies at a dotted path; None when nothing does."""
    at: Any = document
    for step in path.split("."):
        if isinstance(at, list):
            at = at[int(step)] if int(step) < len(at) else None
        else:
            at = at.get(step) if isinstance(at, dict) else None
    return at
