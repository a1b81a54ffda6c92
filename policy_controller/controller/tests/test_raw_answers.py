"""A real operator, kopf included, behind a server that puts raw bytes into its watches and LISTs: it goes on, and in time."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests.objects import new, policy
from policy_controller.controller.tests.running import Running, operator_at
from policy_controller.controller.tests.test_answers import GAPS, LEFT_OUT, SEEN
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer

SECONDS: Final = 3.0
"""From the write of a good policy to the store; it takes some ten milliseconds beside nothing hostile."""
RAW: Final = {**LEFT_OUT, **GAPS, **SEEN}


class Spoiler:
    """An HTTP server before the API server: passes everything on, and bytes of its own into what is being watched."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._watches: list[web.StreamResponse] = []
        self.item = b""
        """What every LIST of policies begins with."""

    @property
    def open(self) -> int:
        """How many watches there are."""
        return len(self._watches)

    async def inject(self, line: bytes) -> None:
        """Put a line into every open watch."""
        for response in self._watches:
            await response.write(line)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What the API server answers, spoilt."""
        async with (
            aiohttp.ClientSession() as client,
            client.request(
                request.method, self._server.url + request.path_qs, data=await request.read()
            ) as given,
        ):
            if "watch" not in request.query:
                body = await given.read()
                if self.item and request.path.endswith("networkpolicies"):
                    body = body.replace(b'"items":[', b'"items":[' + self.item + b",").replace(b",]", b"]")
                return web.Response(status=given.status, body=body, content_type="application/json")
            response = web.StreamResponse(status=given.status, headers={"Content-Type": "application/json"})
            await response.prepare(request)
            self._watches.append(response)
            try:
                async for line in given.content:
                    await response.write(line)
            finally:
                self._watches.remove(response)
            return response


@asynccontextmanager
async def spoilt(server: ApiServer, folder: Path) -> AsyncIterator[tuple[Spoiler, Running]]:
    spoiler = Spoiler(server)
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", spoiler.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    kubeconfig = server.kubeconfig().replace(server.url, url)
    try:
        async with operator_at(server, kubeconfig, folder, relist_seconds=3600.0) as running:
            await eventually(lambda: spoiler.open == 4)
            yield spoiler, running
    finally:
        await runner.cleanup()


def knows(running: Running, name: str) -> bool:
    return any(one.name == name for one in running.operator.store.cluster().policies)


async def test_raw_bytes_in_watches_end_none_and_delay_no_policy(server: ApiServer, tmp_path: Path) -> None:
    async with spoilt(server, tmp_path) as (spoiler, running):
        for number, (name, line) in enumerate(RAW.items()):
            await spoiler.inject(line)
            began = time.monotonic()
            server.create(new(policy(f"good-{number}")))
            await eventually(partial(knows, running, f"good-{number}"))
            assert time.monotonic() - began < SECONDS, name
        assert running.operator.watches.restarts == 0
        assert running.operator.store.unreadable >= len(LEFT_OUT)
        assert await running.admin("/healthz") == (200, "ok\n")


@pytest.mark.parametrize("name", SEEN)
async def test_an_item_that_no_decoder_takes_hides_no_other_of_its_list(
    server: ApiServer, tmp_path: Path, name: str
) -> None:
    async with spoilt(server, tmp_path) as (spoiler, running):
        item = SEEN[name].rstrip(b"\n").removeprefix(b'{"type": "ADDED", "object": ').removesuffix(b"}")
        # Later than whatever a LIST has said to be gone.
        spoiler.item = item.replace(b'"resourceVersion": "2"', b'"resourceVersion": "999"')
        server.create(new(policy("good")))
        await running.operator.relister._list_once(Kind.POLICY)
        assert knows(running, "good")
        assert knows(running, "sly")
