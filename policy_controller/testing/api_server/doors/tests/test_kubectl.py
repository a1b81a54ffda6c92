"""The real kubectl, with pods that somebody runs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.tests.raw import DEADLINE
from policy_controller.testing.client_tools import CommandLine, Following


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


@pytest.mark.packets
async def test_port_forward_reaches_a_port_of_a_pods_loopback(
    client: CommandLine, door: Door, echo: int
) -> None:
    assert door.netns
    async with forwarded(client, echo) as (port, following):

        async def once(content: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(content)
            assert await reader.readexactly(len(content)) == content
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

        await once(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(once(bytes([number]) * (200_000 * number)) for number in range(1, 9)))
        assert following.running


@pytest.mark.packets
async def test_port_that_nobody_listens_on_is_told_by_kubectl(client: CommandLine, door: Door) -> None:
    async with forwarded(client, 9) as (port, following):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""
        writer.close()
        ended = await following.ended()
    assert f"inside network namespace {door.netns}: 127.0.0.1: Connection refused" in ended.err


@asynccontextmanager
async def forwarded(client: CommandLine, port: int) -> AsyncIterator[tuple[int, Following]]:
    """kubectl while it forwards a port of the pod, and where to."""
    async with client.following("port-forward", "pod/web", f":{port}") as following:
        line = await following.line()
        assert line.startswith("Forwarding from 127.0.0.1:")
        yield int(line.split(":")[1].split()[0]), following
