"""An installation in a laboratory: the API server, and what manifests/ says, run by the kubelets of the nodes.

Knows how it comes about, how its programs are ended and when all nodes have put a cluster state in force. Knows nothing of
other pods or of probes.
"""

import asyncio
import enum
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import nft_templates
from compilers.compile.compiler import Compiler
from compilers.model.cluster import Cluster
from compilers.model.settings import CONFIG_MAP, DEFAULTS, ClusterSettings
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.render import render
from compilers.parse.field import Origin, Parsed
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.policy import parse_policy
from compilers.parse.settings import parse_settings
from policy_controller.testing.agreement.kernels import Kernels
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.manifests import manifests
from policy_controller.testing.installation.settings import (
    NAMESPACE,
    USUAL,
    EnforcerSettings,
    settings_document,
    with_settings,
)
from policy_controller.testing.kubelet import Kubelet, KubeletError, PodLife
from policy_controller.testing.kubelet.probes import fetched
from policy_controller.testing.kubelet.relay import CLUSTER_IP
from policy_controller.testing.laboratory import Laboratory

T = TypeVar("T")
Json = dict[str, Any]

START_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
GRACE_SECONDS: Final = 10.0
ADMIN_PORT, ENFORCER_PORT = 9471, 9470

OPERATOR: Final = "operator"
"""The operator's name among the programs."""
DEPLOYMENT, DAEMON_SET = "policy-controller", "policy-enforcer"


class Ending(enum.Enum):
    """How a program is ended: asked to, or at once and without a last word."""

    TERM = signal.SIGTERM
    KILL = signal.SIGKILL


def enforcer_of(node: str) -> str:
    """The name of a node's enforcer among the programs."""
    return f"enforcer-{node}"


class InstallationError(Exception):
    """The installation cannot go on; the text says what did not come about and shows what the programs said."""


class Installation:
    """Comes about step by step, and ends as a whole; an async context manager. `directory` holds its files and logs."""

    def __init__(self, laboratory: Laboratory, directory: Path) -> None:
        self._laboratory = laboratory
        self._directory = directory
        self._stack = AsyncExitStack()
        self._server: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, EnforcerSettings] = {}
        self.kubeconfig: Final = directory / "kubeconfig"

    async def __aenter__(self) -> Self:
        self._kernels = self._stack.enter_context(Kernels())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self) -> Api:
        """Start the API server, apply manifests/, and return a client; pods run as soon as there is a node."""
        await self._start_api_server()
        self._api = await self._stack.enter_async_context(Api(self.kubeconfig))
        for document in with_settings(manifests()):
            await self._api.create(document)
        self._kubelet = await self._stack.enter_async_context(
            Kubelet(self._laboratory, self.kubeconfig, self._directory)
        )
        return self._api

    async def add_node(self, name: str) -> None:
        """A node that the laboratory has joins the cluster, with the usual settings for its enforcer."""
        await self._set(name, USUAL)
        await self._kubelet.add_node(name)

    async def end(self, name: str, how: Ending) -> None:
        """End a program and wait until it is gone; `begin` begins it again. Raises KeyError."""
        await self._life(name).halt(how.value)

    async def begin(self, name: str, settings: EnforcerSettings = USUAL) -> None:
        """Begin a program again that was ended; `settings` are an enforcer's. Raises KeyError."""
        if name in map(enforcer_of, self._settings):
            await self._set(name.removeprefix(enforcer_of("")), settings)
        self._life(name).resume()

    def operators(self) -> tuple[str, ...]:
        """The names of the operator's replicas among the programs; OPERATOR is one of them."""
        return tuple(life.name for life in self._kubelet.pods_of(DEPLOYMENT))

    def node_of(self, name: str) -> str:
        """The node that a program runs on. Raises KeyError."""
        return self._life(name).node

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a program; nothing when it does not run. Raises KeyError."""
        life = self._life(name)
        life.send_signal(_container(life), number)

    def cut_api_connections(self) -> None:
        """End every connection that pods have to the API server, as when it restarts."""
        self._kubelet.cut_connections()

    def forget_connections(self, node: str) -> None:
        """Empty the node's connection table. Raises KeyError."""
        self._kernels.forget_connections(self._laboratory.nodes[node].namespace)

    def is_running(self, name: str) -> bool:
        """Whether a program was started and has not ended."""
        try:
            life = self._life(name)
        except KeyError:
            return False
        return life.program(_container(life)) is not None

    def log_of(self, name: str) -> str:
        """What a program has logged since the first time it was started. Raises KeyError."""
        life = self._life(name)
        return life.log_of(_container(life)).read_text("utf-8", "replace")

    def number_of(self, name: str) -> int | None:
        """The number of a program's first process as this machine counts; None when it does not run. Raises KeyError."""
        life = self._life(name)
        return life.program(_container(life))

    def network_of(self, name: str) -> str:
        """The network namespace in which a program is. Raises KeyError."""
        return self._life(name).network

    def disk_of(self, node: str) -> Path:
        """What a node has as its file system."""
        return self._kubelet.disk_of(node)

    async def admin(self, path: str) -> str:
        """What the operator tells of itself on its pod's loopback. Raises OSError, KeyError."""
        _, body = await fetched(self._life(OPERATOR).network, "127.0.0.1", ADMIN_PORT, path)
        return body.decode("utf-8", "replace")

    async def is_alive(self, name: str) -> bool:
        """Whether an enforcer says of itself that it lives. Raises KeyError."""
        try:
            status, _ = await fetched(self._life(name).network, "127.0.0.1", ENFORCER_PORT, "/healthz")
        except OSError:
            return False
        return status == HTTPStatus.OK

    async def settled(self, seconds: float = START_SECONDS) -> None:
        """Wait until every pod of the installation is there and ready. Raises InstallationError."""
        try:
            await self._kubelet.settled(seconds)
        except KubeletError as error:
            raise InstallationError(str(error)) from error

    async def in_force(self, cluster: Cluster, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every node's kernel holds exactly what this cluster state compiles to. Raises InstallationError."""
        compiler = Compiler(cluster)
        desired = {name: render(compiler.node(name), self._base(name)).each() for name in self._settings}

        async def holds() -> bool:
            for name, tables in desired.items():
                names = [table.identity for table in tables]
                namespace = self._laboratory.nodes[name].namespace
                if await asyncio.to_thread(self._kernels.held, namespace, names) != tables:
                    return False
            return True

        await self._until(holds, seconds, "the nodes' kernels to hold the compiled rule sets")

    def node_namespaces(self) -> tuple[str, ...]:
        """The network namespaces of the nodes."""
        return tuple(node.namespace for node in self._laboratory.nodes.values())

    def _life(self, name: str) -> PodLife:
        """The pod of a program. Raises KeyError while there is none."""
        lives = {enforcer_of(life.node): life for life in self._kubelet.pods_of(DAEMON_SET)}
        for life in self._kubelet.pods_of(DEPLOYMENT):
            lives[OPERATOR] = lives[life.name] = life
        return lives[name]

    async def _set(self, node: str, settings: EnforcerSettings) -> None:
        """Write the settings of a node's enforcer, and wait until its kubelet has heard of them."""
        if self._settings.get(node) == settings:
            return
        self._settings[node] = settings
        interfaces = {name: self._pod_interfaces(one) for name, one in self._settings.items()}
        document = settings_document(self._settings, interfaces)
        written = await self._api.create(document)
        await self._kubelet.heard({**written, "kind": document["kind"]})

    def _pod_interfaces(self, settings: EnforcerSettings) -> tuple[str, ...]:
        return (*self._laboratory.pod_interfaces, *settings.more_pod_interfaces)

    def _base(self, node: str) -> Base:
        return base_tables(
            nft_templates.read(nft_templates.INET),
            nft_templates.read(nft_templates.BRIDGE),
            BaseSettings(self._pod_interfaces(self._settings[node])),
        )

    async def _start_api_server(self) -> None:
        # Malformed policies are stored, as an older server may have them, so that what they close can be seen.
        server = (
            sys.executable,
            "-m",
            "policy_controller.testing.api_server",
            "--no-validate",
            "--faults",
            "--kubelet",
        )
        secured = ("--tls", "--authorize", "--san", CLUSTER_IP, "--kubeconfig", str(self.kubeconfig))
        self._server = _started((*server, *secured), self._directory / "api-server.log")
        self._stack.callback(_stop, self._server)

        async def written() -> bool:
            return self.kubeconfig.exists()

        await self._until(written, START_SECONDS, "the API server to listen")

    def _ended(self) -> list[str]:
        """Programs that ended though nobody ended them."""
        ended = ["api-server"] if self._server is not None and self._server.poll() is not None else []
        for name in (OPERATOR, *map(enforcer_of, self._settings)):
            try:
                ended += [name] if self._life(name).accidents else []
            except KeyError:
                continue
        return ended

    async def _until(self, done: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not await done():
            ended = self._ended() if self._settings else []
            if ended or time.monotonic() > deadline:
                reason = f"{', '.join(ended)} ended" if ended else f"{seconds:.0f} s have passed"
                raise InstallationError(f"waiting for {what}, but {reason}\n{self._last_words()}")
            await asyncio.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines: list[str] = []
        for path in sorted(self._directory.glob("*.log")):
            lines += [f"{path.stem}: {line}" for line in path.read_text("utf-8", "replace").splitlines()[-8:]]
        return "\n".join(lines)


def _container(life: PodLife) -> str:
    """The name of a pod's one container."""
    (container,) = life.tree["spec"]["containers"]
    return str(container["name"])


def _started(command: Iterable[str], log: Path) -> subprocess.Popen[bytes]:
    # However this process ends, its child ends with it.
    words = ["setpriv", "--pdeathsig", "TERM", "--", *command]
    with log.open("ab") as output:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603 - our own program


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def stored_cluster(api: Api) -> Cluster:
    """The cluster state that the API server holds, read as the operator reads it."""
    return Cluster.of(
        _read(parse_namespace, await api.list("Namespace")),
        _read(parse_pod, await api.list("Pod")),
        _read(parse_policy, await api.list("NetworkPolicy")),
        _read(parse_node, await api.list("Node")),
        settings=_settings(await api.list("ConfigMap")),
    )


def _settings(config_maps: Iterable[Json]) -> ClusterSettings:
    for tree in config_maps:
        metadata = tree["metadata"]
        if (metadata["namespace"], metadata["name"]) == (NAMESPACE, CONFIG_MAP):
            found = parse_settings(tree, Origin.API)
            if found.value is None:
                raise InstallationError(f"the settings of the cluster are wrong: {found.faults}")
            return found.value
    return DEFAULTS


def without_own_pods(cluster: Cluster) -> Cluster:
    """The cluster as its users see it: without the pods of the installation's own namespace."""
    pods = tuple(pod for pod in cluster.pods if pod.namespace != NAMESPACE)
    return replace(cluster, pods=pods)


def _read(parse: Callable[[object, Origin], Parsed[T]], trees: Iterable[object]) -> Iterator[T]:
    for tree in trees:
        value = parse(tree, Origin.API).value
        if value is not None:
            yield value
