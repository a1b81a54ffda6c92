"""The processes of an installation: API server, operator, an enforcer in each node.

Knows how each is started and when all of them have put a cluster state in force. Knows nothing of pods or probes.
"""

import asyncio
import enum
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

import nft_templates
from compilers.compile.compiler import Compiler
from compilers.model.cluster import Cluster
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.render import render
from compilers.parse.field import Origin, Parsed
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.policy import parse_policy
from policy_controller.testing.agreement.kernels import Kernels
from policy_controller.testing.installation.api import Api
from policy_controller.testing.laboratory import Laboratory

T = TypeVar("T")

START_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
GRACE_SECONDS: Final = 10.0


OPERATOR: Final = "operator"
"""The operator's name among the processes."""


class Ending(enum.Enum):
    """How a process is ended: asked to, or at once and without a last word."""

    TERM = signal.SIGTERM
    KILL = signal.SIGKILL


def enforcer_of(node: str) -> str:
    """The name of a node's enforcer among the processes."""
    return f"enforcer-{node}"


@dataclass(frozen=True, slots=True)
class EnforcerSettings:
    """What an enforcer is told beside its node and its operator: pod interfaces beside the laboratory's, and `--unknown-pods`."""

    more_pod_interfaces: tuple[str, ...] = ()
    unknown_pods: str = "drop"


USUAL: Final = EnforcerSettings()


class InstallationError(Exception):
    """The installation cannot go on; the text says what did not come about and shows what the processes said."""


class Installation:
    """Starts processes in order and ends them; a context manager. `directory` holds their socket, files and logs."""

    def __init__(self, laboratory: Laboratory, directory: Path) -> None:
        self._laboratory = laboratory
        self._directory = directory
        self._stack = ExitStack()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._settings: dict[str, EnforcerSettings] = {}
        self.kubeconfig = directory / "kubeconfig"
        self.admin = f"127.0.0.1:{free_port()}"
        """Where the operator tells of its health, once it is started."""

    def __enter__(self) -> Self:
        self._kernels = self._stack.enter_context(Kernels())
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._stack.close()

    async def start_api_server(self) -> None:
        """Returns once the kubeconfig is written."""
        server = (sys.executable, "-m", "policy_controller.testing.api_server", "--port", "0")
        # Malformed policies are stored, as an older server may have them, so that what they close can be seen.
        self._start("api-server", *server, "--no-validate", "--faults", "--kubeconfig", str(self.kubeconfig))
        await self._until(self.kubeconfig.exists, START_SECONDS, "the API server to listen")

    def start_operator(self) -> None:
        """Starts the operator on the API server."""
        self._start(
            OPERATOR,
            script("policy-controller"),
            *(
                "--kubeconfig",
                str(self.kubeconfig),
                "--listen",
                self._socket,
                "--health",
                "127.0.0.1:0",
                "--admin",
                self.admin,
            ),
        )

    def start_enforcer(self, node: str, settings: EnforcerSettings = USUAL) -> None:
        """Starts the enforcer of a node, in the node's network namespace."""
        name = enforcer_of(node)
        log = self._log(name)
        self._settings[node] = settings
        argv = [script("policy-enforcer"), "--node", node, "--operator", self._socket]
        argv += ["--pod-interfaces", ",".join(self._pod_interfaces(settings))]
        self._processes[name] = self._laboratory.spawn(
            self._laboratory.nodes[node].namespace,
            [*argv, "--unknown-pods", settings.unknown_pods],
            stdout=log,
            stderr=log,
        )

    def end(self, name: str, how: Ending) -> None:
        """End a process and wait until it is gone; what starts it starts it again. Raises KeyError, TimeoutExpired."""
        process = self._processes.pop(name)
        process.send_signal(how.value)
        process.wait(GRACE_SECONDS)

    def is_running(self, name: str) -> bool:
        """Whether a process was started and has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def log_of(self, name: str) -> str:
        """What a process has logged since the first time it was started."""
        return (self._directory / f"{name}.log").read_text("utf-8", "replace")

    async def in_force(self, cluster: Cluster, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until every node's kernel holds exactly what this cluster state compiles to. Raises InstallationError."""
        compiler = Compiler(cluster)
        desired = {
            name: render(compiler.node(name), self._base(name)).each() for name in self._laboratory.nodes
        }

        async def holds() -> bool:
            for name, tables in desired.items():
                names = [table.identity for table in tables]
                namespace = self._laboratory.nodes[name].namespace
                if await asyncio.to_thread(self._kernels.held, namespace, names) != tables:
                    return False
            return True

        await self._until_async(holds, seconds, "the nodes' kernels to hold the compiled rule sets")

    def node_namespaces(self) -> tuple[str, ...]:
        """The network namespaces of the nodes."""
        return tuple(node.namespace for node in self._laboratory.nodes.values())

    def _pod_interfaces(self, settings: EnforcerSettings) -> tuple[str, ...]:
        return (*self._laboratory.pod_interfaces, *settings.more_pod_interfaces)

    def _base(self, node: str) -> Base:
        return base_tables(
            nft_templates.read(nft_templates.INET),
            nft_templates.read(nft_templates.BRIDGE),
            BaseSettings(self._pod_interfaces(self._settings.get(node, USUAL))),
        )

    @property
    def _socket(self) -> str:
        return f"unix://{self._directory}/operator.sock"

    def _start(self, name: str, *argv: str) -> None:
        log = self._log(name)
        # However this process ends, they end with it.
        command = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
        self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own programs

    def _log(self, name: str) -> int:
        return self._stack.enter_context((self._directory / f"{name}.log").open("ab")).fileno()

    async def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        async def answer() -> bool:
            return done()

        await self._until_async(answer, seconds, what)

    async def _until_async(self, done: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not await done():
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                reason = f"{', '.join(ended)} ended" if ended else f"{seconds:.0f} s have passed"
                raise InstallationError(f"waiting for {what}, but {reason}\n{self._last_words()}")
            await asyncio.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines: list[str] = []
        for name in self._processes:
            lines += [f"{name}: {line}" for line in self.log_of(name).splitlines()[-8:]]
        return "\n".join(lines)


async def stored_cluster(api: Api) -> Cluster:
    """The cluster state that the API server holds, read as the operator reads it."""
    return Cluster.of(
        _read(parse_namespace, await api.list("Namespace")),
        _read(parse_pod, await api.list("Pod")),
        _read(parse_policy, await api.list("NetworkPolicy")),
        _read(parse_node, await api.list("Node")),
    )


def _read(parse: Callable[[object, Origin], Parsed[T]], trees: Iterable[object]) -> Iterator[T]:
    for tree in trees:
        value = parse(tree, Origin.API).value
        if value is not None:
            yield value


def script(name: str) -> str:
    """The path of a program that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
