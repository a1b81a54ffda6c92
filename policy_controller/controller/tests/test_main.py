"""The operator as a process, and the addresses it accepts."""

import asyncio
import json
import resource
import signal
import socket
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from policy_controller.controller.main import DESCRIPTORS, main
from policy_controller.controller.tests.enforcers import door, install
from policy_controller.controller.tests.objects import new, policy
from policy_controller.controller.tests.scripted_node import node
from policy_controller.testing.api_server import ApiServer

PATIENCE_SECONDS = 30.0


async def answer(url: str) -> int:
    """The status of an admin path; 0 while nobody listens."""
    try:
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status
    except aiohttp.ClientConnectionError:
        return 0


async def answers(url: str, status: int) -> None:
    """Return when the path answers so; the caller sets the deadline."""
    while await answer(url) != status:  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(0.05)


async def free_port() -> int:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@asynccontextmanager
async def operator_process(
    folder: Path, port: int, listen: int = 0, seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Process]:
    """The operator as its own process, with its admin interface on that port, and nodes served on the other.

    Ends with the context, in that time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "policy_controller.controller.main",
        f"--kubeconfig={folder}/kubeconfig",
        f"--listen=127.0.0.1:{listen}",
        "--health=127.0.0.1:0",
        f"--admin=127.0.0.1:{port}",
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        # A pipe that is not read to its end would outlive the loop.
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_serves_until_a_signal_and_ends_well(
    server: ApiServer, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "kubeconfig").write_text(server.kubeconfig())
    port, listen = await free_port(), await free_port()
    async with operator_process(tmp_path, port, listen) as process:
        await answers(f"http://127.0.0.1:{port}/readyz", 200)
        async with node(door(server, listen), "node-1") as one:
            await one.apply()
            server.create(new(policy("deny")))
            process.send_signal(number)
            _, log = await process.communicate()
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["message"] for line in lines if line["level"] not in {"info", "warning"}] == []
    assert lines[-1]["message"] == "stopped"


async def test_the_process_may_have_more_descriptors_than_it_is_started_with(tmp_path: Path) -> None:
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, DESCRIPTORS)
    port = await free_port()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        async with operator_process(tmp_path, port) as process:
            await answers(f"http://127.0.0.1:{port}/healthz", 200)
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (wanted, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_the_process_is_healthy_but_not_ready_until_there_is_an_api_server(tmp_path: Path) -> None:
    server, port = ApiServer(), await free_port()
    install(server)
    async with server.listening("127.0.0.1", 0):
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
        api_port = int(server.url.rpartition(":")[2])
    async with operator_process(tmp_path, port) as process:
        assert process.stderr is not None
        while b"could not list" not in await process.stderr.readline():
            assert process.returncode is None
        assert await answer(f"http://127.0.0.1:{port}/healthz") == 200
        assert await answer(f"http://127.0.0.1:{port}/readyz") == 503
        async with server.listening("127.0.0.1", api_port):
            await answers(f"http://127.0.0.1:{port}/readyz", 200)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def counted(port: int, line: str) -> None:
    """Return when the metrics hold that line; the caller sets the deadline."""
    async with aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"http://127.0.0.1:{port}/metrics") as response:
                if f"policy_controller_{line}" in (await response.text()).splitlines():
                    return
            await asyncio.sleep(0.05)


def distrust(port: int) -> None:
    """Begin TLS as a client that does not know the server's authority: it says so, and ends.

    In TLS 1.2, since of such a client in TLS 1.3 gRPC's core tells that a packet has a wrong length.
    """
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname="policy-controller")


async def test_handshakes_that_fail_are_counted_by_their_reason_and_the_log_stays_json(
    server: ApiServer, tmp_path: Path
) -> None:
    """gRPC's core tells of them by printing on standard error, and in no other way."""
    (tmp_path / "kubeconfig").write_text(server.kubeconfig())
    port, listen = await free_port(), await free_port()
    async with operator_process(tmp_path, port, listen) as process:
        await answers(f"http://127.0.0.1:{port}/readyz", 200)
        for text in (b"GET / HTTP/1.1\r\n\r\n", b"hello, operator\r\n\x1b[31m\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listen)
            writer.write(text)
            await reader.read()
            writer.close()
        await asyncio.to_thread(distrust, listen)
        await counted(port, 'failed_handshakes_total{reason="plain-text"} 2.0')
        await counted(port, 'failed_handshakes_total{reason="untrusted"} 1.0')
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    native = [line for line in map(json.loads, log.splitlines()) if line["logger"] == "native"]
    assert [line["message"].partition(" with ")[0] for line in native] == ["Handshake failed"] * 3


WRONG_FLAGS = [
    (["--listen=127.0.0.1"], "HOST:PORT"),
    (["--admin=0.0.0.0:80"], "not on loopback"),
    (["--admin=127.0.0.1"], "HOST:PORT"),
    (["--admin=127.0.0.1:70000"], "HOST:PORT"),
    (["--relist-seconds=0"], "--relist-seconds: is not a number of at least 1"),
    (["--debounce-ms=201"], "--debounce-ms: is not a number from 0 to 200"),
    (["--tls-cert=/tls/tls.crt"], "tlsKey: is missing"),
]


@pytest.mark.parametrize(("flags", "words"), WRONG_FLAGS)
def test_a_wrong_flag_is_refused_with_a_sentence(flags: list[str], words: str) -> None:
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 2
    assert words in result.output
