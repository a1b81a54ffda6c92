"""One installation for a module of tests and a pod network: each test leaves all its processes running."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from policy_controller.testing.installation.tests.town import Town
from policy_controller.testing.laboratory import NetworkKind


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=NetworkKind, ids=lambda kind: kind.value)
async def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    async with Town(request.param, tmp_path_factory.mktemp("town")) as town:
        yield town
