"""Addresses of pods: each has its own, also while others are being made."""

from pathlib import Path

import pytest

from policy_controller.testing.kubelet.client import Client, Picture
from policy_controller.testing.kubelet.places import Places
from policy_controller.testing.laboratory import Laboratory

pytestmark = pytest.mark.packets

KUBECONFIG = """
clusters: [{cluster: {server: "http://127.0.0.1:1"}}]
users: [{user: {}}]
"""


def test_pods_of_one_moment_get_addresses_of_their_own(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    client = Client(kubeconfig)
    with Laboratory() as laboratory:
        node = laboratory.add_node("node-1")
        built = laboratory.add_pod(node, "built")
        places = Places(
            laboratory, client, Picture(client, (), lambda: None), {}, tmp_path, ("10.96.0.1", 443)
        )

        taken = [places.take_addresses(node) for _ in range(3)]

    addresses = [address for some in (*taken, built.addresses) for address in some]
    assert len(set(addresses)) == len(addresses)
