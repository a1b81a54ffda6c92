"""A pod that runs in a network namespace of its own, and a server that knows how to reach it."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from pyroute2.netns import remove

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.features import Features, Kubelet, Permission, Transport
from policy_controller.testing.api_server.tests.samples import sample
from policy_controller.testing.laboratory.netns import create, inside

FEATURES = Features(Transport.TLS, permission=Permission.AUTHORIZED, kubelet=Kubelet.PLAYED)
LOOPBACK = 1
"""Its index, in every network namespace."""


@pytest.fixture
def netns() -> Iterator[str]:
    """A network namespace with a loopback and nothing else."""
    name = f"door-{uuid.uuid4().hex[:8]}"
    create(name)
    try:
        with inside(name), IPRoute() as routes:
            routes.link("set", index=LOOPBACK, state="up")
        yield name
    finally:
        remove(name)


@pytest.fixture(params=["127.0.0.1", "::1"])
async def echo(netns: str, request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """A port of the pod's loopback where everything comes back, and then the end, too."""
    with inside(netns):
        listening = socket.create_server(
            (request.param, 0), family=socket.AF_INET6 if ":" in request.param else socket.AF_INET
        )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, sock=listening):
        yield listening.getsockname()[1]


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer.running(features=FEATURES) as running:
        yield running


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(server.kubeconfig())
    return path


@pytest.fixture
def door(server: ApiServer, netns: str, tmp_path: Path) -> Door:
    """The pod `web`, which runs in the namespace and logs into two files."""
    uid = server.create({**sample("v1", "Pod"), "status": {"phase": "Running"}})["metadata"]["uid"]
    logs = {name: str(tmp_path / f"{name}.log") for name in ("main", "other")}
    made = Door(uid, netns, logs)
    server.doors.open(made)
    return made
