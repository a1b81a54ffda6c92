"""The command: an address on the first line, a kubeconfig in the file, and a clean end."""

import asyncio
import signal
import stat
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml

from policy_controller.testing.api_server.tests.raw import DEADLINE, POLICIES, RawClient, policy


@pytest.mark.parametrize(("flags", "code"), [((), 422), (("--no-validate",), 201)])
async def test_command_serves_until_it_is_told_to_stop(
    tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    arguments = [
        "-m",
        "policy_controller.testing.api_server",
        "--port",
        "0",
        "--kubeconfig",
        str(kubeconfig),
        *flags,
    ]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            url = (await process.stdout.readline()).decode().strip()
        config = yaml.safe_load(kubeconfig.read_text())
        assert config["clusters"][0]["cluster"]["server"] == url
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
        async with aiohttp.ClientSession(url) as session:
            client = RawClient(session)
            answer = await client.post(POLICIES, policy("p", {"ingress": [{"from": [{}]}]}))
            assert answer.code == code
            async with client.watch("/api/v1/namespaces") as watch:
                assert await watch.brief() == ("ADDED", "default")
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE):
                    assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
