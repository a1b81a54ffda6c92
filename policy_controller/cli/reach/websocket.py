"""The API server's port-forward over a WebSocket, by kr8s.

Knows the channels of the protocol: every frame begins with a byte that names one, and the first frame of each only
repeats the port. Knows nothing of what is carried.

kr8s has a port-forward of its own. It tries for ever when it is refused, and listens on a TCP port, where every user of
this machine could come along; here it is a socket in a private folder.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import Final

import httpx
import httpx_ws
import kr8s
import kr8s.asyncio
from aiohttp import ClientSession, ClientTimeout, UnixConnector

from policy_controller.cli.reach.kubernetes import connected, private_folder, refusal, refused
from policy_controller.cli.reach.way import SECONDS, SELECTOR, NotReached, Way, running_pod

DATA: Final = 0
"""The channel of the first port's bytes; 1 is that of its errors (kubelet: data 2n, error 2n + 1)."""
PROTOCOL: Final = "v4.channel.k8s.io"
CHUNK: Final = 32 * 1024


@contextlib.asynccontextmanager
async def through_the_api_server(way: Way) -> AsyncIterator[ClientSession]:
    """A client of the admin interface of one operator pod, for the length of the block. Raises NotReached."""
    with private_folder() as folder:
        async with asyncio.timeout(SECONDS):
            api = await connected(way)
            pod = running_pod(await _pods(api, way), way.namespace)
        tunnel, socket = _Tunnel(api, way, pod), folder / "admin"
        server = await asyncio.start_unix_server(tunnel.accept, socket)
        async with (
            server,
            ClientSession(
                "http://localhost", connector=UnixConnector(str(socket)), timeout=ClientTimeout(SECONDS)
            ) as client,
        ):
            try:
                yield client
            except Exception as fault:
                # The client only sees that the connection ended; the tunnel knows why.
                if tunnel.failure is not None:
                    raise tunnel.failure from fault
                raise
            finally:
                await tunnel.close()


async def _pods(api: kr8s.asyncio.Api, way: Way) -> bytes:
    listing = api.call_api(
        "GET", version="v1", namespace=way.namespace, url="pods", params={"labelSelector": SELECTOR}
    )
    try:
        async with listing as response:
            return response.content
    except httpx.HTTPError as fault:
        raise NotReached(f"the API server is not reached: {fault}") from fault
    except kr8s.ServerError as fault:
        raise refused(fault, f"`list` on pods in namespace {way.namespace}") from fault


class _Tunnel:
    """Carries connections into a pod, each over a WebSocket of its own."""

    def __init__(self, api: kr8s.asyncio.Api, way: Way, pod: str) -> None:
        self._api = api
        self._way = way
        self._pod = pod
        self._carrying: set[asyncio.Task[None]] = set()
        self.failure: NotReached | None = None
        """Why the last connection that failed did."""

    def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one connection, until either end closes it."""
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def close(self) -> None:
        """End every connection."""
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with self._websocket() as websocket:
                await _both_ways(websocket, reader, writer)
        except Exception as fault:
            reason = self._reason(fault)
            if reason is None:
                raise
            self.failure = reason
        finally:
            writer.close()

    def _websocket(self) -> contextlib.AbstractAsyncContextManager[httpx_ws.AsyncWebSocketSession]:
        return self._api.open_websocket(
            version="v1",
            namespace=self._way.namespace,
            url=f"pods/{self._pod}/portforward",
            params={"ports": str(self._way.port)},
            subprotocols=[PROTOCOL],
        )

    def _reason(self, fault: BaseException) -> NotReached | None:
        if isinstance(fault, BaseExceptionGroup):
            # httpx_ws wraps what ends its block.
            return next(filter(None, map(self._reason, fault.exceptions)), None)
        if isinstance(fault, NotReached):
            return fault
        if isinstance(fault, httpx_ws.WebSocketUpgradeError):
            permission = f"`get` (or `create`) on pods/portforward in namespace {self._way.namespace}"
            return refusal(fault.response.status_code, permission, "")
        if isinstance(fault, (httpx.HTTPError, httpx_ws.HTTPXWSException)):
            return NotReached(f"the way to pod {self._pod} broke: {type(fault).__name__}: {fault}")
        return None


async def _both_ways(
    websocket: httpx_ws.AsyncWebSocketSession, reader: StreamReader, writer: StreamWriter
) -> None:
    ways = [asyncio.create_task(_inward(websocket, reader)), asyncio.create_task(_outward(websocket, writer))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in ways:
            one.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _inward(websocket: httpx_ws.AsyncWebSocketSession, reader: StreamReader) -> None:
    while sent := await reader.read(CHUNK):
        await websocket.send_bytes(bytes([DATA]) + sent)


async def _outward(websocket: httpx_ws.AsyncWebSocketSession, writer: StreamWriter) -> None:
    begun: set[int] = set()
    while True:
        try:
            frame = await websocket.receive_bytes()
        except httpx_ws.WebSocketDisconnect:
            return
        if not frame:
            continue
        channel, held = frame[0], frame[1:]
        if channel not in begun:
            begun.add(channel)
        elif channel != DATA:
            raise NotReached(f"the pod does not let us in: {held.decode(errors='replace').strip()}")
        else:
            writer.write(held)
            await writer.drain()
