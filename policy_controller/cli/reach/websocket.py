"""The API server's port-forward over a WebSocket, by kr8s.

Knows the channels of the protocol: every frame begins with a byte that names one, and the first frame of each only
repeats the port. Knows nothing of what is carried.

kr8s has a port-forward of its own. It tries for ever when it is refused, and listens on a TCP port, where every user of
this machine could come along; here it is a socket in a private folder.
"""

import asyncio
import contextlib
import tempfile
import warnings
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import httpx
import httpx_ws
import kr8s
import kr8s.asyncio
from aiohttp import ClientSession, ClientTimeout, UnixConnector

from policy_controller.cli.reach.way import SECONDS, SELECTOR, NotReached, Way, running_pod

DATA: Final = 0
"""The channel of the first port's bytes; 1 is that of its errors (kubelet: data 2n, error 2n + 1)."""
PROTOCOL: Final = "v4.channel.k8s.io"
CHUNK: Final = 32 * 1024
FORBIDDEN: Final = 403
UNAUTHORIZED: Final = 401


@contextlib.asynccontextmanager
async def through_the_api_server(way: Way) -> AsyncIterator[ClientSession]:
    """A client of the admin interface of one operator pod, for the length of the block. Raises NotReached."""
    with _private_folder() as folder:
        async with asyncio.timeout(SECONDS):
            api = await _connected(way)
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


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user may enter, and that leaves nothing behind.

    kr8s writes keys out of a kubeconfig into temporary files and leaves them, so they go there too.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="policyctl-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


async def _connected(way: Way) -> kr8s.asyncio.Api:
    try:
        api = kr8s.asyncio.Api(kubeconfig=way.kubeconfig, context=way.context, bypass_factory=True)
        with warnings.catch_warnings():
            # kr8s warns of versions that it was not tried with; what is asked here is older than all of them.
            warnings.simplefilter("ignore", UserWarning)
            await api
    except httpx.HTTPError as fault:
        raise NotReached(f"the API server is not reached: {fault}") from fault
    except kr8s.ServerError as fault:
        raise _refused(fault, "`get` on /version") from fault
    except TimeoutError:
        raise
    except Exception as fault:
        # Whatever a kubeconfig may hold, and whatever a program that it names does.
        raise NotReached(f"no credentials for a cluster: {type(fault).__name__}: {fault}") from fault
    return api


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
        raise _refused(fault, f"`list` on pods in namespace {way.namespace}") from fault


def _refused(fault: kr8s.ServerError, permission: str) -> NotReached:
    status = fault.response.status_code if fault.response is not None else 0
    # Where the answer is no Status, its first line is httpx's sentence, and the second recommends reading.
    return _refusal(status, permission, str(fault).partition("\n")[0])


def _refusal(status: int, permission: str, words: str) -> NotReached:
    """What a refusal of the API server means: which permission is lacking, or that it does not know who asks."""
    said = f": {words}" if words else ""
    if status == FORBIDDEN:
        return NotReached(f"you lack the permission {permission}{said}")
    if status == UNAUTHORIZED:
        return NotReached(f"the API server does not accept your credentials{said}")
    return NotReached(f"the API server answers {status or 'nothing'} to {permission}{said}")


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
            return _refusal(fault.response.status_code, permission, "")
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
