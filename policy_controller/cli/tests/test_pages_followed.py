"""docs/install.md and docs/security.md followed to the letter: real kubectl and policyctl, a laboratory's nodes and kubelets."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.features import Features, Permission, Transport
from policy_controller.testing.api_server.features import Kubelet as Played
from policy_controller.testing.credentials import Authority
from policy_controller.testing.kubelet import OWN, Kubelet
from policy_controller.testing.kubelet.relay import CLUSTER_IP
from policy_controller.testing.laboratory import Laboratory, Node

ROOT: Final = Path(__file__).parents[3]
FEATURES: Final = Features(
    Transport.TLS, names=(CLUSTER_IP,), permission=Permission.AUTHORIZED, kubelet=Played.PLAYED
)
SECTION: Final = re.compile(r"^##+ (?P<title>.+)\n(?P<text>(?:(?!##).*\n)*)", re.MULTILINE)
FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NODES: Final = ("node-a", "node-b")
REGISTRY: Final = "registry.example.com"
SECONDS: Final = 60.0
ON_ITS_DISK: Final = 'mount --bind "$0" /var/lib && exec "$@"'


def blocks(page: str, title: str, language: str = "") -> list[str]:
    """The blocks of code below a heading."""
    text = (ROOT / "docs" / page).read_text()
    (section,) = (found["text"] for found in SECTION.finditer(text) if found["title"] == title)
    return [found["text"] for found in FENCE.finditer(section) if found["language"] == language]


@dataclass
class Admin:
    """Somebody at a shell, in a folder with the manifests beside an overlay of his own."""

    folder: Path
    environment: Mapping[str, str]

    def kept_on(self, node: Node) -> Path:
        """What is /var/lib on a node."""
        return self.folder / "volumes" / "disks" / node.name / "var" / "lib"

    async def does(self, script: str, node: Node | None = None) -> str:
        """What it prints, here or on a node, which has a disk of its own; every command must end well."""
        there: tuple[str | Path, ...] = ()
        if node is not None:
            disk = self.kept_on(node)
            disk.mkdir(parents=True, exist_ok=True)
            # `ip netns exec` makes a mount namespace too.
            there = ("ip", "netns", "exec", node.namespace, "sh", "-c", ON_ITS_DISK, disk)
        process = await asyncio.create_subprocess_exec(
            *there,
            "/bin/bash",
            "-euo",
            "pipefail",
            "-c",
            script,
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate()
        assert process.returncode == 0, f"{script}\n{out.decode()}"
        return out.decode()


@asynccontextmanager
async def cluster(folder: Path, kubectl: Path) -> AsyncIterator[tuple[Admin, Laboratory]]:
    """Two nodes, and somebody who administers them."""
    images = {**OWN, **{f"{REGISTRY}/{name}": image for name, image in OWN.items()}}
    with Laboratory() as laboratory:
        for name in NODES:
            laboratory.add_node(name)
        async with ApiServer.running(features=FEATURES) as server:
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(server.kubeconfig())
            (folder / "volumes").mkdir()
            async with Kubelet(laboratory, kubeconfig, folder / "volumes", images) as kubelet:
                for name in NODES:
                    await kubelet.add_node(name)
                path = f"{kubectl.parent}:{Path(sys.executable).parent}:{os.defpath}:/sbin:/usr/sbin"
                environment = {"PATH": path, "KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
                (folder / "manifests").symlink_to(ROOT / "manifests")
                yield Admin(folder, environment), laboratory


@pytest.mark.packets
async def test_the_pages_lead_from_an_empty_cluster_to_an_installation_and_back(
    tmp_path: Path, kubectl: Path
) -> None:
    async with cluster(tmp_path, kubectl) as (admin, laboratory):
        (tmp_path / "ours").mkdir()
        (overlay,) = blocks("install.md", "Install", "yaml")
        (tmp_path / "ours" / "kustomization.yaml").write_text(overlay)

        (install,) = blocks("install.md", "Install")
        assert "successfully rolled out" in await admin.does(install)

        first, beforehand = "kubectl get networkpolicies -A", blocks("install.md", "What happens then")[0]
        await admin.does(first)
        assert "table inet" in await admin.does(beforehand.replace("NODE", NODES[0]))

        (status, logs, _) = blocks("install.md", "Verify")
        assert "2 of 2 nodes enforce the operator's last word" in await admin.does(status)
        assert (await admin.does(logs)).count("generation 1 is in force") == len(NODES)

        (renewal,) = blocks("security.md", "Tokens and keys")
        await admin.does(renewal)
        (upgrade,) = blocks("install.md", "Upgrade")
        await admin.does(upgrade)
        assert "2 of 2 nodes enforce the operator's last word" in await admin.does("policyctl status")

        (uninstall, cleaning) = blocks("install.md", "Uninstall")
        await admin.does(uninstall)
        for node in laboratory.nodes.values():
            assert "table inet policy-controller" in await admin.does("nft list tables", node)
            assert (admin.kept_on(node) / "policy-controller" / "rule-set").exists()
            await admin.does(cleaning, node)
            assert "policy-controller" not in await admin.does("nft list tables", node)
            assert list(admin.kept_on(node).iterdir()) == []


@pytest.mark.whole
@pytest.mark.packets
async def test_a_certificate_of_ones_own_is_taken_as_the_page_says(tmp_path: Path, kubectl: Path) -> None:
    authority = Authority()
    shown = authority.certificate()
    overlay, _ = blocks("install.md", "A certificate of your own", "yaml")
    (publishes,) = blocks("install.md", "A certificate of your own")
    async with cluster(tmp_path, kubectl) as (admin, _):
        (tmp_path / "ours").mkdir()
        # What cert-manager would make of the Certificate, which this API server does not know.
        (tmp_path / "ours" / "kustomization.yaml").write_text(overlay.replace("  - certificate.yaml\n", ""))
        for name, content in (("tls.crt", shown.chain), ("tls.key", shown.key), ("ca.crt", authority.pem)):
            (tmp_path / name).write_bytes(content)
        await admin.does("kubectl apply -f manifests/namespace.yaml")
        await admin.does(
            "kubectl -n policy-controller create secret tls policy-controller-tls --cert=tls.crt --key=tls.key"
        )
        await admin.does(publishes)
        (upgrade,) = blocks("install.md", "Upgrade")
        await admin.does(upgrade)

        assert "2 of 2 nodes enforce the operator's last word" in await admin.does("policyctl status")
        held = await admin.does("kubectl -n policy-controller get secrets,configmaps -o name")
        assert "secret/policy-controller-ca" not in held
