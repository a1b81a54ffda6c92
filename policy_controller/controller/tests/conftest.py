"""A development API server with two nodes and a namespace."""

from collections.abc import AsyncIterator

import pytest

from policy_controller.controller.tests import enforcers, objects
from policy_controller.controller.tests.objects import new
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Faults


@pytest.fixture
def faults() -> Faults:
    """What the server does to its clients."""
    return Faults()


@pytest.fixture
async def server(faults: Faults) -> AsyncIterator[ApiServer]:
    """Stores malformed objects as they come, as an older server may have them."""
    async with ApiServer.running(validate=False, faults=faults) as running:
        enforcers.install(running, ("node-1", "node-2"))
        running.create(new(objects.namespace("shop")))
        for number in (1, 2):
            running.create(new(objects.node(f"node-{number}", address=f"192.0.2.{number}")))
        yield running
