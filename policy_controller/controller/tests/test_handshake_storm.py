"""Handshakes that are broken off by the thousand, over real TLS: the process lives, and a node gets in."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime

import grpc
import pytest

from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.serving import serving, silent
from policy_controller.testing.extent import Extent
from policy_controller.wire.channel import HostPort

TOGETHER = 200


def greeting() -> bytes:
    """What a client of TLS says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(heard, said).do_handshake()
    return said.read()


def storm(port: int, times: int) -> None:
    """So many handshakes are begun, some of them together, and broken off."""
    begun, words = list[socket.socket](), greeting()
    for _ in range(times):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(words)
        begun.append(one)
        if len(begun) == TOGETHER:
            for each in begun:
                each.close()
            begun.clear()
    for each in begun:
        each.close()


async def test_handshakes_that_are_broken_off_harm_nobody(extent: Extent) -> None:
    async with serving() as served, node(served.door, "node-a"):
        await served.connected("node-a")
        await asyncio.to_thread(storm, served.server.port, extent.choose(1_000, 20_000))
        async with node(served.door, "node-b"):
            await served.connected("node-b")
        assert "node-a" in served.streams.nodes


async def test_grpc_is_given_a_certificate_only_when_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    given, real = [], grpc.ssl_server_certificate_configuration

    def configuration(pairs: list[tuple[bytes, bytes]]) -> grpc.ServerCertificateConfiguration:
        given.append(pairs)
        return real(pairs)

    monkeypatch.setattr(grpc, "ssl_server_certificate_configuration", configuration)
    async with silent(datetime.now(UTC)) as served:
        shown = [served.authority.certificate(), served.authority.certificate()]
        await served.server.start(HostPort("127.0.0.1", 0), lambda: shown[0])
        for name in ("node-a", "node-b", "node-c"):
            async with node(served.door, name):
                await served.connected(name)
        assert len(given) == 1
        shown.reverse()
        for name in ("node-d", "node-e"):
            async with node(served.door, name):
                await served.connected(name)
        assert given == [[(one.key, one.chain)] for one in reversed(shown)]
        assert served.server.handshakes >= 5
