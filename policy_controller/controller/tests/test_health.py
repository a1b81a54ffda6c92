"""The admin interface under a crowd of connections."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from policy_controller.bounded import MOST_CONNECTIONS
from policy_controller.controller.health import serving


class Well:
    """A subject that nothing ails."""

    def ailments(self) -> Sequence[str]:
        return ()

    def reasons_not_ready(self) -> Sequence[str]:
        return ()

    def status(self) -> dict[str, Any]:
        return {}


async def test_half_open_connections_do_not_keep_a_kubelet_out() -> None:
    async with asyncio.timeout(10), serving("127.0.0.1:0", Well(), CollectorRegistry()) as url:
        host, port = url.removeprefix("http://").split(":")
        crowd = [await asyncio.open_connection(host, int(port)) for _ in range(2 * MOST_CONNECTIONS)]
        async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz") as answer:
            assert answer.status == 200
        for reader, _ in crowd[:MOST_CONNECTIONS]:
            assert await reader.read() == b""
        for _, writer in crowd:
            writer.close()
