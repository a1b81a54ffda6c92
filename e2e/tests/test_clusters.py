"""Clusters that are not ours: what is asked of kind, and the one sentence with which tests are skipped where there is none."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from e2e.agents import Agents
from e2e.asking import confirmed
from e2e.examples import Site
from e2e.existing import ExistingCluster
from e2e.install import Installation
from e2e.kind import configuration, network, routes
from e2e.laboratory import LaboratoryCluster
from e2e.state import stored
from e2e.tests import town
from policy_controller.testing.laboratory import NetworkKind

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = ["10.244.1.0/24", "fd00:10:244:1::/64"]
NODE = {
    "metadata": {"name": "worker"},
    "spec": {"podCIDRs": BLOCKS},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "172.18.0.3"},
            {"type": "InternalIP", "address": "fc00:f853:ccd:e793::3"},
            {"type": "Hostname", "address": "worker"},
        ]
    },
}


def test_a_cluster_of_kind_has_no_network_that_enforces_policies_itself() -> None:
    made = configuration("kindest/node:v1.34.0")

    assert made["networking"] == {"disableDefaultCNI": True, "ipFamily": "dual"}
    assert {node["image"] for node in made["nodes"]} == {"kindest/node:v1.34.0"}
    assert sum(node["role"] == "worker" for node in made["nodes"]) >= 2


def test_a_node_of_kind_has_a_bridge_with_its_own_blocks_and_hides_no_sender() -> None:
    bridge, _ = network(BLOCKS)["plugins"]

    assert [[one["subnet"] for one in some] for some in bridge["ipam"]["ranges"]] == [
        [block] for block in BLOCKS
    ]
    assert (bridge["type"], bridge["ipMasq"], bridge["isDefaultGateway"]) == ("bridge", False, True)


def test_each_block_of_a_node_is_reached_by_its_address_of_the_same_family() -> None:
    assert routes(NODE) == list(zip(BLOCKS, ("172.18.0.3", "fc00:f853:ccd:e793::3"), strict=True))


@pytest.mark.whole
@pytest.mark.packets
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", NetworkKind, ids=[kind.value for kind in NetworkKind])
async def test_a_kubeconfig_is_all_that_an_existing_cluster_must_give(
    kind: NetworkKind, kubectl: Path, record_property: Callable[[str, object], None]
) -> None:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(LaboratoryCluster(kubectl, None, kind.value))
        kubeconfig = there.directory / "kubeconfig"
        cluster = await stack.enter_async_context(ExistingCluster(kubectl, kubeconfig, there.images))
        installation = Installation(cluster)
        await installation.apply()
        site = Site.of(await cluster.kubectl.all("nodes"))
        async with Agents(cluster, town.NAMESPACES, town.pods(site)) as agents:
            await cluster.kubectl.apply([town.POLICIES["namespace-or-pod"]])
            rows = list(town.rows(await stored(cluster.kubectl), agents.by_key))
            held = await confirmed(rows, agents.by_key)
        await installation.remove()

        assert not await installation.is_there()
    record_property(f"rows of the truth table on an existing cluster ({kind.value})", held)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["existing"], "--cluster existing needs --kubeconfig FILE"),
        (["kind"], "--cluster kind needs Docker or Podman, and neither answers here"),
    ],
)
def test_without_a_cluster_the_tests_are_skipped_with_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, kubectl: Path
) -> None:
    # No engine is found by this PATH, whatever this machine has.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "e2e/tests/test_installation.py",
        "-rs",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--kubectl", str(kubectl), "--cluster", *words]
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, env=nothing, capture_output=True, text=True, check=False)  # noqa: S603 - pytest

    reasons = {found[1] for found in re.finditer(r"^SKIPPED .*: (.*)$", ended.stdout, re.MULTILINE)}
    assert reasons == {sentence}, ended.stdout
    assert ended.returncode == 0
    assert "passed" not in ended.stdout
