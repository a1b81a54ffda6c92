"""An installation's manifests: applied, applied again, changed, taken away."""

import shutil
from pathlib import Path

from policy_controller.testing.api_server.tests.kubectl.conftest import COUNTED, Cluster, Record

MANIFESTS = Path(__file__).with_name("installation")
ALWAYS_CONFIGURED = {"poddisruptionbudget.policy/operator"}
"""kubectl itself says so of every budget: its type's selector is always sent whole."""


def became(out: str) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in out.splitlines()}


async def test_installation_applies_unchanged_and_goes(cluster: Cluster, record_property: Record) -> None:
    first = became(await cluster.says("apply", "-k", str(MANIFESTS)))
    assert set(first.values()) == {"created"}
    second = became(await cluster.says("apply", "-k", str(MANIFESTS)))
    assert {name for name, word in second.items() if word != "unchanged"} == ALWAYS_CONFIGURED
    ended = await cluster.run("diff", "-k", str(MANIFESTS))
    assert (ended.code, ended.out) == (0, "")
    out = await cluster.says("get", "all", "-n", "gatekeeping", "-o", "name")
    assert out.split() == ["service/operator", "daemonset.apps/enforcer", "deployment.apps/operator"]
    await cluster.says("delete", "-k", str(MANIFESTS), "--ignore-not-found")
    assert (await cluster.says("get", "namespaces", "-o", "name")).split() == [
        f"namespace/{name}" for name in ("default", "kube-node-lease", "kube-public", "kube-system")
    ]
    assert "gatekeeping" not in await cluster.says("get", "clusterroles,clusterrolebindings", "-o", "name")
    record_property(COUNTED, 7)


async def test_installation_is_taken_over_by_apply_on_the_server(cluster: Cluster) -> None:
    await cluster.says("apply", "-k", str(MANIFESTS))
    once = became(await cluster.says("apply", "--server-side", "-k", str(MANIFESTS)))
    assert set(once.values()) == {"serverside-applied"}
    for document in cluster.server.list("Deployment") + cluster.server.list("ClusterRole"):
        managers = {entry["manager"] for entry in document["metadata"].get("managedFields", [])}
        assert "kubectl-client-side-apply" not in managers
    version = cluster.server.resource_version
    await cluster.says("apply", "--server-side", "-k", str(MANIFESTS))
    assert cluster.server.resource_version == version


async def test_changed_setting_makes_a_new_config_map_and_a_new_generation(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "installation"
    shutil.copytree(MANIFESTS, folder)
    await cluster.says("apply", "-k", str(folder))
    kustomization = folder / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("unknownPods=drop", "unknownPods=allow"))
    changed = became(await cluster.says("apply", "-k", str(folder)))
    assert {name.partition("-")[0] for name, word in changed.items() if word == "created"} == {
        "configmap/settings"
    }
    assert changed["deployment.apps/operator"] == "configured"
    assert cluster.server.get("Deployment", "operator", "gatekeeping")["metadata"]["generation"] == 2
