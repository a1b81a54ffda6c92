"""Ports forwarded as streams of SPDY within a WebSocket: what kubectl does not try by itself. (`test_kubectl` has the rest.)"""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.doors.spdy import FIN, Data, Finished, Frame, Ping, Reader
from policy_controller.testing.api_server.doors.tests.spdy_client import Client, data, ping, reset
from policy_controller.testing.api_server.doors.tunnel import CONNECTIONS, PROTOCOL
from policy_controller.testing.api_server.features import Features, Kubelet
from policy_controller.testing.api_server.tests.raw import PODS
from policy_controller.testing.api_server.tests.samples import sample

FLOOD = b"x" * 1_000_000


@pytest.fixture
async def tunnel() -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A tunnel into a pod that lives in the server's own network."""
    async with ApiServer.running(features=Features(kubelet=Kubelet.PLAYED)) as server:
        uid = server.create(sample("v1", "Pod"))["metadata"]["uid"]
        server.doors.open(Door(uid))
        async with (
            aiohttp.ClientSession(server.url) as session,
            session.ws_connect(f"{PODS}/web/portforward", protocols=(PROTOCOL,)) as tunnel,
        ):
            yield tunnel


async def listening(answer: str, stop: asyncio.Event | None = None) -> tuple[asyncio.Server, int]:
    """A port where what is read is counted, or only waited for, or nothing is read until it stops."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stop is not None:
            await stop.wait()
        elif answer == "counts":
            writer.write(str(len(await reader.read())).encode())
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, family=socket.AF_INET)
    return server, server.sockets[0].getsockname()[1]


async def until(tunnel: aiohttp.ClientWebSocketResponse, last: Frame) -> list[Frame]:
    """What comes, up to and including a frame."""
    reader, frames = Reader(), []
    while last not in frames:
        frames += list(reader.feed(await tunnel.receive_bytes()))
    return frames


async def test_end_of_what_the_client_sends_reaches_the_pod(tunnel: aiohttp.ClientWebSocketResponse) -> None:
    server, port = await listening("counts")
    async with server:
        await tunnel.send_bytes(Client().connects(0, port) + data(3, b"12345") + data(3, b"6789", FIN))
        frames = await until(tunnel, Finished(3))
    assert frames == [Data(3, b"9"), Finished(1), Finished(3)]


async def test_pod_that_goes_does_not_hold_up_other_connections(
    tunnel: aiohttp.ClientWebSocketResponse,
) -> None:
    stop, client, counted = asyncio.Event(), Client(), []
    deaf, deaf_port = await listening("nothing", stop)
    server, port = await listening("counts")

    async def flood() -> None:
        for number in range(64):
            await tunnel.send_bytes(data(3, FLOOD))
            counted.append(number)

    async with deaf, server:
        await tunnel.send_bytes(client.connects(0, deaf_port))
        flooding = asyncio.ensure_future(flood())
        before = -1
        while before != len(counted):
            before = len(counted)
            await asyncio.sleep(0.05)
        assert not flooding.done()
        stop.set()
        await flooding
        await tunnel.send_bytes(client.connects(1, port) + data(7, b"123", FIN))
        frames = await until(tunnel, Finished(7))
    assert Data(7, b"3") in frames
    assert Finished(3) in frames


async def test_stream_that_is_reset_ends_its_connection(tunnel: aiohttp.ClientWebSocketResponse) -> None:
    server, port = await listening("waits")
    client = Client()
    async with server:
        for number in range(CONNECTIONS + 1):
            # More than may be open at once: each is gone before the next.
            await tunnel.send_bytes(client.connects(number, port) + reset(4 * number + 3) + ping(number))
            assert Ping(number) in await until(tunnel, Ping(number))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        Client().opens(1, {"streamtype": "data", "port": "80", "requestid": "0"}),
        Client().opens(1, {"streamtype": "error", "port": "http", "requestid": "0"}),
        Client().opens(1, {}),
    ],
)
async def test_client_that_speaks_otherwise_is_cut_off(
    tunnel: aiohttp.ClientWebSocketResponse, sent: bytes
) -> None:
    await tunnel.send_bytes(sent)
    while (message := await tunnel.receive()).type is aiohttp.WSMsgType.BINARY:
        pass
    assert message.type is aiohttp.WSMsgType.CLOSE
