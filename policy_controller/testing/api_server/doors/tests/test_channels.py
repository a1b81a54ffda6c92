"""Ports forwarded over channels of a WebSocket, as kr8s does it; and the control path."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import kr8s.asyncio
import msgspec
import pytest
from kr8s.asyncio.objects import Pod

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.doors.channels import PROTOCOL
from policy_controller.testing.api_server.tests.raw import DEADLINE, PODS

PORTS = f"{PODS}/web/portforward"
LARGE = bytes(range(256)) * 4096 * 2


@pytest.fixture
async def session(server: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that is the developer."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=server.authority))
    headers = {"Authorization": f"Bearer {server.developer_token}"}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:
        yield session


def free_port() -> int:
    """A port that is free now. (kr8s's own choice may be one that a connection holds.)"""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.packets
async def test_kr8s_reaches_a_port_of_a_pods_loopback(kubeconfig: Path, door: Door, echo: int) -> None:
    assert door.netns
    api = await kr8s.asyncio.api(kubeconfig=str(kubeconfig))
    pod = await Pod.get("web", namespace="default", api=api)
    async with asyncio.timeout(DEADLINE), pod.portforward(remote_port=echo, local_port=free_port()) as port:
        for content in (b"GET / HTTP/1.1\r\n\r\n", LARGE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(content)
            assert await reader.readexactly(len(content)) == content
            writer.close()


@pytest.mark.packets
async def test_port_that_nobody_listens_on_is_an_error_on_its_channel(
    session: aiohttp.ClientSession, door: Door
) -> None:
    query = {"ports": "9"}
    async with asyncio.timeout(DEADLINE):
        async with session.ws_connect(PORTS, params=query, protocols=(PROTOCOL,)) as stream:
            said = [await stream.receive_bytes() for _ in range(3)]
            assert (await stream.receive()).type is aiohttp.WSMsgType.CLOSE
    assert stream.protocol == PROTOCOL
    assert said[:2] == [b"\x00\x09\x00", b"\x01\x09\x00"]
    assert said[2].startswith(
        f"\x01an error occurred forwarding 9: failed to connect to localhost:9 inside network namespace {door.netns}".encode()
    )
    assert b"127.0.0.1: Connection refused, ::1: Connection refused" in said[2]


async def test_network_namespace_that_is_not_there_is_an_error(
    session: aiohttp.ClientSession, server: ApiServer, door: Door
) -> None:
    server.doors.open(Door(door.uid, "door-absent"))
    async with asyncio.timeout(DEADLINE), session.ws_connect(PORTS, params={"ports": "9"}) as stream:
        said = [await stream.receive_bytes() for _ in range(3)]
    assert (
        said[2]
        == b"\x01an error occurred forwarding 9: network namespace door-absent: there is none of this name"
    )


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "eCh5eCh5eCh5eCh5eCh5eA==",
}
REFUSED: list[tuple[str, dict[str, str], int]] = [
    (f"{PORTS}?ports=80", {}, 400),
    (PORTS, UPGRADE, 400),
    (f"{PORTS}?ports=x", UPGRADE, 400),
    (f"{PORTS}?ports=0", UPGRADE, 400),
    (f"{PORTS}?ports=65536", UPGRADE, 400),
    (f"{PORTS.replace('web', 'absent')}?ports=80", UPGRADE, 404),
    (f"{PODS}/web/log", {}, 400),
    (f"{PODS}/web/log?container=third", {}, 400),
    (f"{PODS}/web/log?container=main&tailLines=-1", {}, 400),
]


@pytest.mark.parametrize(("path", "headers", "code"), REFUSED)
async def test_request_that_cannot_be_met_is_refused_before_it_is_a_stream(
    session: aiohttp.ClientSession, door: Door, path: str, headers: dict[str, str], code: int
) -> None:
    assert door.logs
    async with session.get(path, headers=headers) as answer:
        assert (answer.status, (await answer.json())["kind"]) == (code, "Status")


async def test_doors_are_opened_and_shut_over_http(session: aiohttp.ClientSession, door: Door) -> None:
    moved = {"uid": door.uid, "netns": "elsewhere", "logs": {}}
    async with session.post("/_pods", json=moved) as answer:
        assert await answer.json() == {"pods": [moved]}
    async with session.delete(f"/_pods/{door.uid}") as answer:
        assert await answer.json() == {"pods": []}
    for again, code in ((f"/_pods/{door.uid}", 404), ("/_pods", 405)):
        async with session.delete(again) as answer:
            assert answer.status == code
    for bad in (b"{}", b'{"uid": 1}', b'{"uid": "a", "more": 1}', b"\xff"):
        async with session.post("/_pods", data=bad) as answer:
            assert answer.status == 400
    async with session.get(f"{PODS}/web/log") as answer:
        assert (answer.status, "no pod runs" in (await answer.json())["message"]) == (405, True)


async def test_nobody_but_the_developer_opens_doors(
    server: ApiServer, session: aiohttp.ClientSession
) -> None:
    server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}})
    account = {"Authorization": f"Bearer {server.token('web')}"}
    body = msgspec.json.encode(Door("a", logs={"main": "/etc/shadow"}))
    async with session.post("/_pods", data=body, headers=account) as answer:
        assert answer.status == 403
    assert server.doors.all == ()
