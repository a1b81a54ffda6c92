"""A server with faults on demand, five pods in it, and a raw client."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Faults
from policy_controller.testing.api_server.tests.raw import RawClient, pod

PODS = 5
PATIENCE_SECONDS = 10.0


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - any condition, not only those that have an event
            await asyncio.sleep(0.005)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def server(faults: Faults) -> AsyncIterator[ApiServer]:
    async with ApiServer.running(faults=faults) as running:
        for number in range(PODS):
            running.create(pod(f"p{number}"))
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(server.url) as session:
        yield RawClient(session)
