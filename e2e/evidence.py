"""What is kept when a test has failed: the objects, the events, and what our pods and the agents have said.

Knows kubectl. A question that the cluster does not answer leaves its error in the place of the answer.
"""

from pathlib import Path
from typing import Final

from e2e.cluster import Cluster, ClusterError
from e2e.install import NAMESPACE

OBJECTS: Final = "nodes,namespaces,pods,services,deployments,daemonsets,networkpolicies,events"
QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "objects.txt": ("get", OBJECTS, "--all-namespaces", "-o", "wide"),
    "objects.yaml": ("get", "pods,networkpolicies", "--all-namespaces", "-o", "yaml"),
}


async def keep(cluster: Cluster, directory: Path) -> None:
    """Write it into the directory."""
    for name, words in QUESTIONS.items():
        (directory / name).write_text(await _answer(cluster, *words))
    try:
        pods = await cluster.kubectl.all("pods")
    except ClusterError as error:
        (directory / "pods.txt").write_text(str(error))
        pods = []
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if namespace != NAMESPACE:
            continue
        for container in pod["spec"]["containers"]:
            words = ("-n", namespace, "logs", name, "-c", container["name"])
            (directory / f"{name}.log").write_text(await _answer(cluster, *words))
    await cluster.keep_logs(directory)


async def _answer(cluster: Cluster, *words: str) -> str:
    try:
        return await cluster.kubectl.run(*words)
    except ClusterError as error:
        return f"{error}\n"
