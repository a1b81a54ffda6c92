"""One stage for a module of packet tests: the evaluator's two namespaces and five pods, and pods to try policies on."""

from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
import pytest_asyncio

from compilers.evaluate.tests.stage import OUTSIDE
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.places import outside, pod_places
from policy_controller.testing.agreement.tests.scene import BASE, PORTS, STRANGERS, everybody
from policy_controller.testing.agreement.tests.service_town import Town
from policy_controller.testing.examples import NODES
from policy_controller.testing.kube_proxy import Mode
from policy_controller.testing.laboratory import NetworkKind


@pytest.fixture(scope="module", params=NetworkKind, ids=lambda kind: kind.value)
def network(request: pytest.FixtureRequest) -> NetworkKind:
    """Every pod network there is; a module about one of them says so with a fixture of its own."""
    kind: NetworkKind = request.param
    return kind


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(network: NetworkKind) -> AsyncIterator[Stage]:
    beyond = outside(map(ip_address, (*OUTSIDE, *STRANGERS)))
    async with Stage(BASE, NODES, (*pod_places([everybody()]), beyond), PORTS, network) as stage:
        yield stage


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest) -> Mode:
    """How kube-proxy works; a module about Services says with service_town.ON_EVERY_NETWORK which modes it tries where."""
    mode: Mode = request.param
    return mode


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(stage: Stage, mode: Mode) -> AsyncIterator[Town]:
    """The stage with a kube-proxy on every node."""
    town = Town(stage, mode)
    town.open()
    yield town
    town.close()
