"""One stage for a module of packet tests: the evaluator's two namespaces and five pods, and pods to try policies on.

Decides which modules run on which pod networks.
"""

from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address
from typing import Final

import pytest
import pytest_asyncio

from compilers.evaluate.tests.stage import OUTSIDE
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.places import outside, pod_places
from policy_controller.testing.agreement.tests.scene import BASE, PORTS, STRANGERS, everybody
from policy_controller.testing.agreement.tests.service_town import Town
from policy_controller.testing.examples import NODES
from policy_controller.testing.extent import Extent
from policy_controller.testing.kube_proxy import Mode
from policy_controller.testing.laboratory import NetworkKind

Networks = tuple[NetworkKind, ...]
EVERY: Final[Networks] = tuple(NetworkKind)
BRIDGES: Final[Networks] = (NetworkKind.BRIDGE, NetworkKind.VXLAN)
ROUTED: Final[Networks] = (NetworkKind.ROUTED,)
ONE: Final[Networks] = (NetworkKind.BRIDGE,)
NETWORKS: Final[Mapping[str, tuple[Networks, Networks]]] = {
    # Who is a member of what is the same on every network; the rows of other modules would show if it were not.
    "test_cluster_rows": (ONE, EVERY),
    "test_moved_addresses": (ONE, EVERY),
    "test_cut_connections": (ONE, EVERY),
    "test_departed_pods": (ONE, EVERY),
    "test_pod_starts": (ONE, EVERY),
    "test_first_install": (ONE, EVERY),
    # Ways that only neighbours on a bridge have to each other, and their counterpart.
    "test_doors": (BRIDGES, BRIDGES),
    "test_to_many": (BRIDGES, BRIDGES),
    "test_routed_links": (ROUTED, ROUTED),
}
"""On which networks a module runs in the short extent and in the whole; the others run on every network in both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize modules over pod networks; what has a parameter or a fixture `network` of its own is left alone."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    own = hasattr(metafunc.module, "network") or any("network" in names for names in named)
    if own or "network" not in metafunc.fixturenames:
        return
    module = metafunc.module.__name__.rpartition(".")[2]
    extent = Extent(metafunc.config.getoption("--extent"))
    kinds = extent.choose(*NETWORKS.get(module, (EVERY, EVERY)))
    metafunc.parametrize("network", kinds, indirect=True, ids=[kind.value for kind in kinds], scope="module")


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> NetworkKind:
    """The pod network on which the test runs."""
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
