"""Clusters that are not ours: what is asked of kind, and the one sentence with which tests are skipped where there is none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.kind import configuration, network, routes

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
