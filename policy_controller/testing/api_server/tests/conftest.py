"""A running server and a raw client for it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import RawClient


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer.running() as running:
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(server.url) as session:
        yield RawClient(session)
