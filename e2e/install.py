"""manifests/ on a cluster: applied with the images that the cluster has, waited for, and taken away.

Knows manifests/ by its kustomization and the names of its workloads. Knows nothing of what they do.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

import yaml

from e2e.cluster import Cluster, Images

MANIFESTS: Final = Path(__file__).resolve().parents[1] / "manifests"
NAMESPACE: Final = "policy-controller"
OPERATOR, ENFORCER = "deployment/policy-controller", "daemonset/policy-enforcer"
WORKLOADS: Final = (OPERATOR, ENFORCER)
DELETE_SECONDS: Final = 120.0


class Installation:
    """What one cluster runs of ours."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def is_there(self) -> bool:
        """Whether the namespace exists already."""
        found = await self._cluster.kubectl.run(
            "get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"
        )
        return bool(found.strip())

    async def apply(self) -> None:
        """As `kubectl apply -k manifests/`, but with the images of this cluster; returns when all is ready."""
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "kustomization.yaml").write_text(
                _overlay(Path(directory), self._cluster.images)
            )
            await self._cluster.kubectl.run("apply", "-k", directory)
        await self.ready()

    async def ready(self) -> None:
        """Wait until every pod of ours is ready."""
        await self._cluster.kubectl.rolled_out(NAMESPACE, WORKLOADS, self._cluster.patience)

    async def pods(self, workload: str) -> set[str]:
        """The uids of the workload's pods."""
        pods = await self._cluster.kubectl.all("pods", "-l", _selector(workload))
        return {pod["metadata"]["uid"] for pod in pods if pod["metadata"]["namespace"] == NAMESPACE}

    async def restart(self, workload: str) -> None:
        """Replace the workload's pods as `kubectl rollout restart` does; returns when the new ones are ready."""
        await self._cluster.kubectl.run("-n", NAMESPACE, "rollout", "restart", workload)
        await self.ready()

    async def kill(self, workload: str) -> None:
        """Delete the workload's pods without grace; returns when others are ready."""
        words = ("delete", "pod", "-l", _selector(workload), "--grace-period=0", "--force")
        await self._cluster.kubectl.run("-n", NAMESPACE, *words)
        await self.ready()

    async def remove(self) -> None:
        """Delete every object of the manifests, the namespace with all that was made in it last."""
        words = ("delete", "--ignore-not-found", "-k", str(MANIFESTS))
        await self._cluster.kubectl.run(*words, seconds=DELETE_SECONDS)


def _selector(workload: str) -> str:
    return f"app.kubernetes.io/name={workload.rpartition('/')[2]}"


def _overlay(directory: Path, images: Images) -> str:
    wanted = {"policy-controller/operator": images.operator, "policy-controller/enforcer": images.enforcer}
    # A base must be named by a relative path.
    base = os.path.relpath(MANIFESTS, directory.resolve())
    overlay = {"resources": [base], "images": [_image(name, image) for name, image in wanted.items()]}
    return yaml.safe_dump(overlay)


def _image(name: str, reference: str) -> dict[str, str]:
    bare, _, digest = reference.partition("@")
    if digest:
        return {"name": name, "newName": bare, "digest": digest}
    head, slash, last = bare.rpartition("/")
    repository, _, tag = last.partition(":")
    return {"name": name, "newName": f"{head}{slash}{repository}"} | ({"newTag": tag} if tag else {})
