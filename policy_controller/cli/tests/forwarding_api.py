"""A double of an API server with one namespace's pods, and of the kubelet that forwards a port into one of them.

Knows the WebSocket form of port-forward as kubelets speak it. Who may do what, and what lies behind the port, the test
says. Also a kubeconfig that leads to it.
"""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from policy_controller import bounded

NAMESPACE: Final = "policy-controller"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"


def pod(name: str, phase: str = "Running", ready: str = "True", **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    }


@dataclass
class ForwardingApi:
    """`behind`: the port on this machine that stands for the pod's; None: the pod listens on none."""

    pods: list[dict[str, Any]] = field(default_factory=lambda: [pod("policy-controller-1")])
    behind: int | None = None
    refuses: dict[str, int] = field(default_factory=dict)
    """Status by the end of a path."""
    asked: list[str] = field(default_factory=list)
    """Pods that were forwarded into, with the port."""
    url: str = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ForwardingApi"]:
        application = web.Application(middlewares=[self._refusing])
        application.add_routes(
            [
                web.get("/version/", self._version),
                web.get(PODS, self._list),
                web.get(PODS + "/{pod}/portforward", self._forward),
            ]
        )
        async with bounded.serving(application, "127.0.0.1", 0) as (host, port):
            self.url = f"http://{host}:{port}"
            yield self

    def kubeconfig(self, folder: Path, authority: str | None = None) -> Path:
        named = {"name": "double"}
        cluster = {"server": self.url}
        if authority is not None:
            cluster["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [named | {"cluster": cluster}],
            "users": [named | {"user": {"token": "t"}}],
            "contexts": [named | {"context": {"cluster": "double", "user": "double"}}],
            "current-context": "double",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    @web.middleware
    async def _refusing(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        for end, status in self.refuses.items():
            if request.path.endswith(end):
                return web.json_response({"kind": "Status", "message": "no\x1b[31m"}, status=status)
        return await handler(request)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1.33.0"})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["labelSelector"]
        return web.json_response({"kind": "PodList", "items": self.pods})

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        port = int(request.query["ports"])
        self.asked.append(f"{request.match_info['pod']}:{port}")
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        if self.behind is None:
            await socket.send_bytes(b"\x01connection refused\n")
            await socket.close()
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", self.behind)
        back = asyncio.create_task(_back(reader, socket))
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            assert message.data[0] == 0
            writer.write(message.data[1:])
        writer.close()
        await back
        return socket


async def _back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    # Small frames: a reader that took one frame for one answer would fail.
    while sent := await reader.read(100):
        await socket.send_bytes(b"\x00" + sent)
    await socket.close()
