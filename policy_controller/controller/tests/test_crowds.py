"""Who reaches the port and opens no stream, over real TLS: how long a connection lasts."""

import asyncio
import ssl

import pytest

from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.serving import Served, serving
from policy_controller.testing.credentials import SERVER_NAME
from policy_controller.wire import channel

PATIENCE_SECONDS = 10.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, SETTINGS_TAKEN = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
"""Frames of HTTP/2 (RFC 9113, sections 3.4 and 6.5)."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(served: Served) -> Connection:
    """A connection that HTTP/2 has been begun on, as a client does that has no call to make yet."""
    trust = ssl.create_default_context(cadata=served.authority.pem.decode())
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", served.server.port, ssl=trust, server_hostname=SERVER_NAME
    )
    writer.write(GREETING + SETTINGS + SETTINGS_TAKEN)
    return reader, writer


async def ended(connection: Connection) -> None:
    """Return when the server has ended the connection; fails when it does not in time."""
    reader, writer = connection
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.read()
    writer.close()


async def test_a_connection_without_a_stream_ends_and_one_with_a_stream_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "IDLE_SECONDS", 0.2)
    async with serving() as served, node(served.door, "node-a"):
        await served.connected("node-a")
        await ended(await connected(served))
        assert served.streams.nodes == ("node-a",)
