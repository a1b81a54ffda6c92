"""The command: an address on the first line, a kubeconfig in the file, and a clean end."""

import asyncio
import base64
import signal
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from policy_controller.testing.api_server.tests.raw import DEADLINE, PODS, POLICIES, RawClient, policy


@pytest.mark.parametrize(("flags", "code"), [((), 422), (("--no-validate",), 201)])
async def test_command_serves_until_it_is_told_to_stop(
    tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    async with started(tmp_path, *flags) as (process, url, config):
        assert config["clusters"][0]["cluster"]["server"] == url
        async with aiohttp.ClientSession(url) as session:
            client = RawClient(session)
            answer = await client.post(POLICIES, policy("p", {"ingress": [{"from": [{}]}]}))
            assert answer.code == code
            async with client.watch("/api/v1/namespaces") as watch:
                assert await watch.brief() == ("ADDED", "default")
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE):
                    assert await process.wait() == 0


async def test_command_serves_https_to_those_it_knows(tmp_path: Path) -> None:
    flags = ("--tls", "--authorize", "--host", "0.0.0.0", "--san", "api.example")
    async with started(tmp_path, *flags) as (_, url, config):
        cluster = config["clusters"][0]["cluster"]
        trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=trust)
        own = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        assert cluster["server"] == url
        assert url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=context)) as session:
            for headers, name, code in (
                ({}, "127.0.0.1", 403),
                (own, "127.0.0.1", 200),
                (own, "api.example", 200),
            ):
                async with session.get(PODS, headers=headers, server_hostname=name) as answer:
                    assert answer.status == code


async def test_command_does_not_authorise_in_plain_text(tmp_path: Path) -> None:
    words = ("-m", "policy_controller.testing.api_server", "--authorize", "--kubeconfig", str(tmp_path / "k"))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=pipe)
    async with asyncio.timeout(DEADLINE):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert b"--authorize needs --tls" in said


@asynccontextmanager
async def started(
    folder: Path, *flags: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, dict[str, Any]]]:
    """The command while it runs, where it listens, and the kubeconfig that it wrote."""
    kubeconfig = folder / "kubeconfig"
    arguments = (
        "-m",
        "policy_controller.testing.api_server",
        "--port",
        "0",
        "--kubeconfig",
        str(kubeconfig),
        *flags,
    )
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            url = (await process.stdout.readline()).decode().strip()
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
        yield process, url, yaml.safe_load(kubeconfig.read_text())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
