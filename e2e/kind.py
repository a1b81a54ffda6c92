"""A cluster that pytest-kind makes, without kindnet (which enforces policies itself): with a pod network that enforces none.

Knows kind, the container engine that its nodes run in, and two pod networks: bridges with routes between the nodes, written here
as CNI configuration, or a manifest that is given (Flannel). Both need plugins that node images lack, so they are copied in.
"""

import asyncio
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml
from pytest_kind import KindCluster as PytestKind  # type: ignore[import-untyped]  # it ships without types

from e2e.archives import reference
from e2e.cluster import ClusterError, Deadline, Images, Kubectl
from policy_controller.testing.client_tools import CommandLine

Json = dict[str, Any]

PATIENCE: Final = 180.0
PLUGIN_DIRECTORY: Final = "/opt/cni/bin"
CONFIGURATION: Final = "/etc/cni/net.d/10-e2e.conflist"
READY_SECONDS: Final = 180.0
WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class KindOptions:
    """What flags say. `engine` is the program whose containers are kind's nodes."""

    name: str
    binary: Path
    image: str
    plugins: Path
    manifest: Path | None
    engine: str
    keep: bool


class KindCluster:
    """A control plane and two workers, both address families. Images are names, or archives, which are loaded."""

    patience = PATIENCE

    def __init__(self, kubectl: Path, options: KindOptions, images: Images) -> None:
        self._binary = kubectl
        self._options = options
        self._given = (images.operator, images.enforcer, images.probe)
        self.images = Images(*(reference(Path(one)) if Path(one).is_file() else one for one in self._given))

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="policy-controller-kind-")
        directory = Path(self._directory.name)
        config = directory / "kind.yaml"
        config.write_text(yaml.safe_dump(configuration(self._options.image)))
        kubeconfig = directory / "kubeconfig"
        self._kind = PytestKind(
            self._options.name, kubeconfig, self._options.image, self._options.binary, self._binary
        )
        await asyncio.to_thread(self._kind.create, config)
        try:
            self.kubectl = Kubectl(CommandLine(self._binary, kubeconfig, directory))
            await self._connect()
            for image in self._given:
                await asyncio.to_thread(self._load, image)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def keep_logs(self, directory: Path) -> None:
        """What kind knows of its nodes: the journals and the logs of all containers."""
        words = ("export", "logs", "--name", self._options.name, str(directory / "kind"))
        await asyncio.to_thread(_run, str(self._options.binary), *words)

    async def _end(self) -> None:
        if not self._options.keep:
            await asyncio.to_thread(self._kind.delete)
        self._directory.cleanup()

    async def _connect(self) -> None:
        """Give the nodes a pod network; returns when they are ready."""
        nodes = await self.kubectl.all("nodes")
        for node in nodes:
            await asyncio.to_thread(self._copy_plugins, node["metadata"]["name"])
        if self._options.manifest is not None:
            await self.kubectl.run("apply", "-f", str(self._options.manifest))
        else:
            for node in nodes:
                await asyncio.to_thread(self._write_network, node, nodes)
        async for _ in Deadline(READY_SECONDS, "the nodes of kind are not ready"):
            if all(_is_ready(node) for node in await self.kubectl.all("nodes")):
                return

    def _copy_plugins(self, node: str) -> None:
        self._engine("cp", f"{self._options.plugins.resolve()}/.", f"{node}:{PLUGIN_DIRECTORY}")

    def _write_network(self, node: Json, nodes: list[Json]) -> None:
        name, own = node["metadata"]["name"], network(node["spec"]["podCIDRs"])
        self._engine("exec", "-i", name, "sh", "-c", f"cat > {CONFIGURATION}", stdin=json.dumps(own))
        for other in nodes:
            for block, address in routes(other) if other is not node else ():
                family = "-6" if ":" in block else "-4"
                self._engine("exec", name, "ip", family, "route", "replace", block, "via", address)

    def _load(self, image: str) -> None:
        kind = "image-archive" if Path(image).is_file() else "docker-image"
        _run(str(self._options.binary), "load", kind, "--name", self._options.name, image)

    def _engine(self, *words: str, stdin: str | None = None) -> None:
        _run(self._options.engine, *words, stdin=stdin)


def configuration(image: str) -> Json:
    """Kind's own configuration."""
    roles = ("control-plane", *("worker",) * WORKERS)
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"disableDefaultCNI": True, "ipFamily": "dual"},
        "nodes": [{"role": role, "image": image} for role in roles],
    }


def network(blocks: list[str]) -> Json:
    """CNI configuration of a node: a bridge with the node's own blocks.

    Nothing is masqueraded: a policy on another node would take the node's address for the sender.
    """
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": block}] for block in blocks]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "e2e", "plugins": [bridge, ports]}


def routes(node: Json) -> list[tuple[str, str]]:
    """The node's pod blocks, each with the node's address of the same family."""
    addresses = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    return [
        (block, next(address for address in addresses if (":" in address) is (":" in block)))
        for block in node["spec"]["podCIDRs"]
    ]


def _is_ready(node: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])


def _run(*words: str, stdin: str | None = None) -> None:
    ended = subprocess.run(words, input=stdin, text=True, capture_output=True, check=False)  # noqa: S603 - named by flags
    if ended.returncode != 0:
        raise ClusterError(f"{' '.join(words)}: {ended.stderr.strip()}")
