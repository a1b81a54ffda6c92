"""The whole path without an API server: objects go into the operator's store, and enforcer processes follow it.

Two nodes of a laboratory, and the operator on a host outside. Knows the operator's parts and the enforcer's command line. Knows no expected verdict.
"""

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from policy_controller.clock import SystemClock
from policy_controller.controller.compile_loop import CompileLoop
from policy_controller.controller.identity.dates import today
from policy_controller.controller.identity.reviewer import Enforcers, Reviewer
from policy_controller.controller.kinds import Kind
from policy_controller.controller.server import EnforcementServer
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.tests import objects
from policy_controller.enforcer.tests.operator_double import Site
from policy_controller.testing.credentials import NAMESPACE, Authority, FakeReviews
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod, inside
from policy_controller.testing.probe import Prober
from policy_controller.wire.channel import HostPort

ENFORCER: Final = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
NODES: Final = ("node-a", "node-b")
DEBOUNCE: Final = 0.005
SETTLE_SECONDS: Final = 30.0
EVERY: Final = 0.005
HEALTH: Final = "http://127.0.0.1:9470"
"""Of an enforcer, in its node's network."""


class WholePath:
    """An operator's store and two enforcers; an async context manager. `directory` is for what enforcers are given.

    In a laboratory of the caller's, which has the nodes, the operator is not there from the beginning: `serve` starts it.
    """

    def __init__(
        self,
        directory: Path,
        network: NetworkKind | Laboratory,
        debounce_seconds: float = DEBOUNCE,
        enforcer: tuple[str, ...] = ENFORCER,
    ) -> None:
        self._network = network
        self._enforcer = enforcer
        self._debounce = debounce_seconds
        self._directory = directory
        self._authority, self._reviews = Authority(), FakeReviews()
        self._stack = AsyncExitStack()
        self._versions = itertools.count(1)
        self._enforcers: dict[str, subprocess.Popen[bytes]] = {}
        self._flags: dict[str, tuple[str, ...]] = {}

    async def __aenter__(self) -> Self:
        if isinstance(self._network, Laboratory):
            self.laboratory = self._network
        else:
            self.laboratory = self._stack.enter_context(Laboratory(network=self._network))
        self.prober = await self._stack.enter_async_context(Prober())
        self.store, self.streams = Store(), NodeStreams()
        enforcers = Enforcers(NAMESPACE, "policy-enforcer")
        reviewer = Reviewer(self._reviews, self.store, enforcers, SystemClock(), today)
        self._server = EnforcementServer(self.streams, reviewer, SystemClock())
        self._loop = CompileLoop(self.store, self.streams, SystemClock(), self._debounce)
        self.store.subscribe(self._loop.wake)
        self.streams.subscribe(self._loop.wake)
        self._tell(Kind.NAMESPACE, objects.namespace("shop"))
        self._where = self.laboratory.add_outside("operator")
        self._address = HostPort(str(self._where.addresses[0]), 9473)
        later = isinstance(self._network, Laboratory)
        if not later:
            await self.serve()
        synced = asyncio.Event()
        synced.set()
        task = asyncio.create_task(self._loop.run(synced))
        self._stack.callback(task.cancel)
        for name in NODES:
            self._prepare(name)
            self._start(name)
        if not later:
            await self.settled()
        return self

    async def serve(self) -> None:
        """The operator is there from now on."""
        certificate = self._authority.certificate()
        with inside(self._where.namespace):
            await self._server.start(self._address, lambda: certificate)
        self._stack.push_async_callback(self._server.stop)

    async def go_away(self) -> None:
        """The operator is there no more."""
        await self._server.stop()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def tell_namespace(self, annotations: Mapping[str, str]) -> None:
        """The API shows the namespace with these annotations."""
        tree = objects.namespace("shop")
        tree["metadata"]["annotations"] = dict(annotations)
        self._tell(Kind.NAMESPACE, tree)

    def tell_pod(self, pod: Pod, app: str, phase: str = "Running") -> None:
        """The API shows a pod of the laboratory, with a label `app`; its name is its uid."""
        tree = objects.pod(pod.name, node=pod.node.name, labels={"app": app}, uid=pod.name)
        tree["status"] = {"phase": phase, "podIPs": [{"ip": str(address)} for address in pod.addresses]}
        self._tell(Kind.POD, tree)

    def tell_bound(self, name: str, node: str, app: str) -> None:
        """The API shows a pod that is bound to a node and has no address yet; its name is its uid."""
        self._tell(Kind.POD, objects.pod(name, node=node, labels={"app": app}, uid=name))

    def tell_no_pod(self, pod: Pod) -> None:
        """The API shows the pod no more."""
        self._tell_gone(Kind.POD, objects.pod(pod.name, uid=pod.name))

    def tell_policies(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """The API shows these policies of the namespace."""
        for name, spec in specs.items():
            self._tell(Kind.POLICY, objects.policy(name, dict(spec)))

    def tell_no_policies(self, names: Iterable[str]) -> None:
        """The API shows these policies no more."""
        for name in names:
            self._tell_gone(Kind.POLICY, objects.policy(name))

    async def restart_enforcer(self, name: str) -> None:
        """A node's enforcer is killed, and another is started once it is gone."""
        self._enforcers[name].kill()
        await asyncio.to_thread(self._enforcers[name].wait)
        while self.streams.statuses().get(name) is not None:  # noqa: ASYNC110 - a stream that ends sets no event
            await asyncio.sleep(EVERY)
        self._start(name)

    def freeze_enforcer(self, name: str) -> None:
        """A node's enforcer reads nothing and answers nothing any more, and its connections stay."""
        self._enforcers[name].send_signal(signal.SIGSTOP)

    def thaw_enforcer(self, name: str) -> None:
        """It goes on where it was."""
        self._enforcers[name].send_signal(signal.SIGCONT)

    @property
    def ended_streams(self) -> Counter[str]:
        """Streams that the operator ended, by status."""
        return self._server.ended

    async def acknowledged(self, name: str) -> None:
        """Return when this node has acknowledged what was told, whatever the other has."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (
            self._loop.revision == self.store.revision
            and (status := self.streams.statuses().get(name)) is not None
            and status.current
        ):
            assert time.monotonic() < deadline, self.streams.statuses()
            await asyncio.sleep(EVERY)

    def log_of(self, name: str) -> str:
        """What a node's enforcers have logged."""
        return (self._directory / f"{name}.log").read_text("utf-8", "replace")

    async def asked(self, name: str, path: str) -> str:
        """What a node's enforcer answers on the address of health and metrics, whatever the status."""

        def ask() -> str:
            try:
                with urllib.request.urlopen(HEALTH + path, timeout=SETTLE_SECONDS) as answer:  # noqa: S310 - of this machine
                    return str(answer.read().decode())
            except urllib.error.HTTPError as error:
                return error.read().decode()

        return await asyncio.to_thread(self.laboratory.run_in, self.laboratory.nodes[name].namespace, ask)

    async def nodes_noticed(self) -> None:
        """Return when every node drops what it does not know, since nobody tells it any more."""
        deadline = time.monotonic() + SETTLE_SECONDS
        for node in self.laboratory.nodes.values():
            while "log-unknown" not in _slot(node.namespace):
                assert time.monotonic() < deadline
                await asyncio.sleep(EVERY)

    async def settled(self) -> None:
        """Return when every node has acknowledged what was told."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self._is_settled():
            assert time.monotonic() < deadline, self.streams.statuses()
            await asyncio.sleep(EVERY)

    async def ended(self, pod: Pod) -> None:
        """Return when no node's kernel remembers a connection of the pod's addresses.

        After a long walk over the connections an enforcer waits for up to a second before the next
        (docs/decisions/moved-addresses.md).
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        for node in self.laboratory.nodes.values():
            while await asyncio.to_thread(_remembers, node.namespace, pod):
                assert time.monotonic() < deadline, f"{node.name} remembers connections of {pod.name}"
                await asyncio.sleep(EVERY)

    def _is_settled(self) -> bool:
        statuses = self.streams.statuses()
        return (
            self._loop.revision == self.store.revision
            and tuple(statuses) == NODES
            and all(one.current for one in statuses.values())
        )

    def _prepare(self, name: str) -> None:
        if name not in self.laboratory.nodes:
            self.laboratory.add_node(name)
        links = ",".join(self.laboratory.pod_interfaces)
        folder = self._directory / name
        folder.mkdir()
        site = Site(folder, self._address)
        site.give_ca(self._authority.pem)
        site.give_token(self._reviews.mint(name))
        self._flags[name] = ("--node", name, *site.flags(), "--pod-interfaces", links)

    def _start(self, name: str) -> None:
        namespace, command = self.laboratory.nodes[name].namespace, [*self._enforcer, *self._flags[name]]
        with (self._directory / f"{name}.log").open("ab") as log:
            self._enforcers[name] = self.laboratory.spawn(namespace, command, stdout=log, stderr=log)

    def _tell(self, kind: Kind, tree: dict[str, Any]) -> None:
        self.store.put(kind, self._next(tree))

    def _tell_gone(self, kind: Kind, tree: dict[str, Any]) -> None:
        self.store.remove(kind, self._next(tree))

    def _next(self, tree: dict[str, Any]) -> dict[str, Any]:
        tree["metadata"]["resourceVersion"] = str(next(self._versions))
        return tree


def _slot(namespace: str) -> str:
    words = ("nft", "list", "chain", "inet", "policy-controller", "unknown-egress")
    with inside(namespace):
        return subprocess.run(words, text=True, capture_output=True, check=True).stdout  # noqa: S603 - a fixed program


def _remembers(namespace: str, pod: Pod) -> bool:
    addresses = {str(address) for address in pod.addresses}
    with inside(namespace), NFCTSocket(socket.AF_UNSPEC) as conntrack:
        return any(address in str(entry) for entry in conntrack.dump() for address in addresses)
