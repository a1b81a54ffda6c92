"""Which cluster the tests run on, and what they share: the cluster, the installation, an agent on each node.

    pytest e2e                                                            a laboratory on this machine; needs root
    pytest e2e --cluster existing --kubeconfig F --operator-image I --enforcer-image I --probe-image I
    pytest e2e --cluster kind --kind-bin F --kind-image I --cni-plugins DIR --operator-image F --enforcer-image F --probe-image F

--kubeconfig, --kind-bin, --kind-image, --cluster-name and --keep-cluster are options of pytest-kind.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e.agents import Agent, AgentPod, Agents
from e2e.cluster import EXISTING, KIND, LABORATORY, Cluster, Images
from e2e.evidence import keep
from e2e.examples import Site
from e2e.existing import ExistingCluster
from e2e.install import NAMESPACE, Installation
from e2e.kind import KindCluster, KindOptions
from e2e.laboratory import LaboratoryCluster
from policy_controller.testing.laboratory import NetworkKind

ENGINE_SECONDS: Final = 30.0
NODES_NAMESPACE: Final = "e2e-nodes"
CLUSTER: Final = pytest.StashKey[Cluster]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e", "end-to-end tests on a cluster")
    group.addoption(
        "--cluster", choices=(LABORATORY, EXISTING, KIND), default=LABORATORY, help="where to run"
    )
    group.addoption("--kubectl", type=Path, help="a kubectl; by default the one that `make tools` fetches")
    for name in ("operator", "enforcer", "probe"):
        group.addoption(
            f"--{name}-image", help="a name that nodes can start; for kind also an archive of e2e/image.sh"
        )
    group.addoption(
        "--images", type=Path, help="archives of e2e/image.sh for the laboratory; else this checkout"
    )
    networks = [kind.value for kind in NetworkKind]
    group.addoption("--network", choices=networks, default=networks[0], help="the laboratory's pod network")
    group.addoption(
        "--installed", action="store_true", help="use the installation that the cluster has, and leave it"
    )
    group.addoption(
        "--cni-plugins", type=Path, help="kind: the folder of CNI plugins, with `bridge`, to copy to nodes"
    )
    group.addoption(
        "--cni-manifest", type=Path, help="kind: a pod network to apply, such as Flannel; else plain bridges"
    )
    group.addoption(
        "--logs", type=Path, help="where to keep logs when a test fails; by default a temporary folder"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the cluster says of itself when something fails, before the test's own objects are gone."""
    report = yield
    cluster = item.config.stash.get(CLUSTER, None)
    if report.failed and cluster is not None:
        parent = item.config.getoption("--logs") or Path(tempfile.mkdtemp(prefix="e2e-logs-"))
        directory = parent / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', item.name)}-{report.when}"
        directory.mkdir(parents=True, exist_ok=True)
        # A thread has no loop yet; that of the tests is at rest now, and not ours.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, keep(cluster, directory)).result()
        report.sections.append(("logs of the cluster", f"kept in {directory}"))
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The cluster; skips with one sentence where there can be none."""
    kubectl = pytestconfig.getoption("--kubectl") or request.getfixturevalue("kubectl")
    makers: Mapping[str, Callable[[pytest.Config, Path], Cluster]] = {
        LABORATORY: _laboratory,
        EXISTING: _existing,
        KIND: _kind,
    }
    async with makers[pytestconfig.getoption("--cluster")](pytestconfig, kubectl) as made:
        pytestconfig.stash[CLUSTER] = made
        yield made
        del pytestconfig.stash[CLUSTER]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def installation(cluster: Cluster, pytestconfig: pytest.Config) -> AsyncIterator[Installation]:
    """manifests/, applied and ready; removed in the end."""
    installation = Installation(cluster)
    if pytestconfig.getoption("--installed"):
        await installation.ready()
        yield installation
        return
    if await installation.is_there():
        pytest.fail(
            f"the cluster has a namespace {NAMESPACE} already: --installed tests what is there, and leaves it"
        )
    try:
        await installation.apply()
        yield installation
    finally:
        await installation.remove()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(cluster: Cluster) -> Site:
    """The nodes and networks of the cluster."""
    return Site.of(await cluster.kubectl.all("nodes"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def on_nodes(cluster: Cluster, site: Site) -> AsyncIterator[dict[str, Agent]]:
    """An agent on the network of each node that tests use, by the node's name."""
    names = sorted(set(site.nodes))
    pods = [
        AgentPod(NODES_NAMESPACE, f"on-{number}", name, {}, frozenset(), (), True)
        for number, name in enumerate(names)
    ]
    async with Agents(cluster, {NODES_NAMESPACE: {}}, pods) as agents:
        yield {pod.node: agents[pod.key] for pod in pods}


def _laboratory(config: pytest.Config, kubectl: Path) -> LaboratoryCluster:
    return LaboratoryCluster(kubectl, config.getoption("--images"), config.getoption("--network"))


def _existing(config: pytest.Config, kubectl: Path) -> ExistingCluster:
    kubeconfig = config.getoption("--kubeconfig")
    if kubeconfig is None:
        pytest.skip("--cluster existing needs --kubeconfig FILE")
    return ExistingCluster(kubectl, Path(kubeconfig), _images(config))


def _kind(config: pytest.Config, kubectl: Path) -> KindCluster:
    engine = next((name for name in ("docker", "podman") if _answers(name)), None)
    if engine is None:
        pytest.skip("--cluster kind needs Docker or Podman, and neither answers here")
    options = KindOptions(
        name=config.getoption("--cluster-name"),
        binary=_needed(config, "--kind-bin"),
        image=str(_needed(config, "--kind-image")),
        plugins=_needed(config, "--cni-plugins"),
        manifest=config.getoption("--cni-manifest"),
        engine=engine,
        keep=config.getoption("--keep-cluster"),
    )
    return KindCluster(kubectl, options, _images(config))


def _answers(engine: str) -> bool:
    program = shutil.which(engine)
    if program is None:
        return False
    ended = subprocess.run([program, "info"], capture_output=True, check=False, timeout=ENGINE_SECONDS)  # noqa: S603 - found above
    return ended.returncode == 0


def _images(config: pytest.Config) -> Images:
    probe = str(_needed(config, "--probe-image"))
    if config.getoption("--installed"):
        return Images("", "", probe)
    return Images(str(_needed(config, "--operator-image")), str(_needed(config, "--enforcer-image")), probe)


def _needed(config: pytest.Config, option: str) -> Path:
    """Nothing is fetched that no flag names."""
    said = config.getoption(option)
    if said is None:
        raise pytest.UsageError(f"--cluster {config.getoption('--cluster')} needs {option}")
    return Path(said)
