"""The limit on connections, against crowds that are idle and crowds that do not read."""

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from policy_controller.bounded import ANSWERS_AT_ONCE, ANSWERS_EACH_SECOND, MOST_CONNECTIONS, Met, serving

DEADLINE = 5.0
CROWD = 3 * MOST_CONNECTIONS
LONG = b"x" * 16_000_000
"""More than the kernel takes for a peer that does not read."""

CROWDS = {
    "idle": b"",
    "half a request": b"GET / HTTP/1.1\r\n",
    "an answer that nobody reads": b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n",
}


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, int]]:
    async def short(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=LONG)

    application = web.Application()
    application.add_routes([web.get("/", short), web.get("/long", long)])
    async with serving(application, "127.0.0.1", 0) as address:
        yield address


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def ask(address: tuple[str, int]) -> str:
    async with ClientSession() as client, client.get(f"http://{address[0]}:{address[1]}/") as answer:
        return await answer.text()


@pytest.mark.parametrize("words", CROWDS.values(), ids=list(CROWDS))
async def test_a_crowd_holds_no_more_than_the_limit_and_keeps_nobody_out(words: bytes) -> None:
    async with listening() as address, asyncio.timeout(DEADLINE * 2):
        before = descriptors()
        crowd = []
        for _ in range(CROWD):
            one = socket.create_connection(address)
            one.sendall(words)
            crowd.append(one)
            # Its turn to accept and to begin its answer.
            await asyncio.sleep(0)
        try:
            assert await ask(address) == "ok\n"
            while descriptors() > before + CROWD + MOST_CONNECTIONS:  # noqa: ASYNC110 - they end without an event
                await asyncio.sleep(0.01)
        finally:
            for one in crowd:
                one.close()


async def test_serving_ends_though_idle_connections_stay() -> None:
    async with asyncio.timeout(DEADLINE):
        async with listening() as address:
            reader, writer = await asyncio.open_connection(*address)
            assert await ask(address) == "ok\n"
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("ipv6", [True, False], ids=["both families", "a node without IPv6"])
async def test_everywhere_is_every_address_of_the_families_there_are(
    monkeypatch: pytest.MonkeyPatch, ipv6: bool
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: ipv6)
    application = web.Application()
    async with asyncio.timeout(DEADLINE), serving(application, "::", 0) as (_, port):
        for host, listens in (("127.0.0.1", True), ("::1", ipv6)):
            try:
                socket.create_connection((host, port)).close()
                assert listens
            except ConnectionRefusedError:
                assert not listens


@pytest.mark.parametrize(
    ("method", "query"), [("GET", ""), ("GET", "?{}"), ("HEAD", ""), ("HEAD", "?{}")], ids=str
)
async def test_whoever_asks_without_end_is_told_what_was_told_last(method: str, query: str) -> None:
    made, met = 0, Counter[Met]()

    async def page(_: web.Request) -> web.Response:
        nonlocal made
        made += 1
        return web.Response(status=503, text=f"{made}\n", headers={"X-Made": str(made)})

    application = web.Application()
    application.add_routes([web.get("/page", page), web.get("/other", page)])
    asked = int(ANSWERS_AT_ONCE) + 100
    async with (
        asyncio.timeout(DEADLINE * 4),
        serving(application, "127.0.0.1", 0, lambda one: met.update([one])) as (host, port),
        ClientSession() as client,
    ):
        url, begin, last = f"http://{host}:{port}", time.monotonic(), 0
        for number in range(asked):
            async with client.request(method, f"{url}/page{query.format(number)}") as answer:
                text = answer.headers["X-Made"]
                assert answer.status == 503
                assert await answer.text() == ("" if method == "HEAD" else f"{text}\n")
                assert last <= int(text) <= made
                last = int(text)
        allowed = ANSWERS_AT_ONCE + 1 + ANSWERS_EACH_SECOND * (time.monotonic() - begin)
        assert ANSWERS_AT_ONCE <= made <= allowed
        assert met[Met.ANSWERS] == asked - made
        async with client.get(f"{url}/other") as answer:
            # Another question is another matter.
            assert await answer.text() == f"{made}\n"
        async with client.get(f"{url}/nothing") as answer:
            assert answer.status == 404


async def test_a_page_that_reads_its_query_answers_every_question_with_one_and_is_spared_without() -> None:
    met = Counter[Met]()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path}?{request.query_string}")

    application = web.Application()
    application.add_routes([web.get("/page", page), web.get("/other", page)])
    async with (
        asyncio.timeout(DEADLINE * 4),
        serving(application, "127.0.0.1", 0, lambda one: met.update([one]), frozenset({"/page"})) as (
            host,
            port,
        ),
        ClientSession() as client,
    ):

        async def answers(question: str) -> set[str]:
            told = set()
            for number in range(int(ANSWERS_AT_ONCE) + 100):
                async with client.get(f"http://{host}:{port}{question.format(number)}") as answer:
                    told.add(await answer.text())
            return told

        assert len(await answers("/page?{}")) == int(ANSWERS_AT_ONCE) + 100
        assert met[Met.ANSWERS] == 0
        # What it says without a query is not what anybody was told who asked with one.
        assert await answers("/page") == {"/page?"}
        assert met[Met.ANSWERS] > 0
        # A page that does not read its query says the same whatever it is asked with.
        assert len(await answers("/other?{}")) < int(ANSWERS_AT_ONCE) + 100
