"""The operator, wired:

    kopf watches ─┐                                      ┌─▶ session of node a ─▶ gRPC
    LISTs ────────┼─▶ store ─▶ compile loop (Compiler) ──┴─▶ session of node b ─▶ gRPC
    ConfigMap ────┘    │
                       └─────▶ Events on invalid policies    Events on nodes ◀── gRPC

    Secret, ConfigMap or files ─▶ identity (certificate) ──▶ gRPC ◀── reviewer (tokens) ◀── TokenReviews

Knows which part needs which. Everything runs in one event loop, and nothing of it outlives `Operator.run`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import kopf
from prometheus_client import CollectorRegistry

from compilers.model.cluster import ServiceAccount
from policy_controller.clock import Clock
from policy_controller.controller.answers import Losses, Session
from policy_controller.controller.api import Kr8sApi
from policy_controller.controller.bounds import Bound
from policy_controller.controller.cluster_settings import ClusterSettingsSource
from policy_controller.controller.cluster_version import ClusterVersion
from policy_controller.controller.compile_loop import CompileLoop
from policy_controller.controller.complaints import complaints, unread_choices
from policy_controller.controller.crowd import Crowd
from policy_controller.controller.doorbell import Doorbell
from policy_controller.controller.enforced import Picture
from policy_controller.controller.events import PolicyEvents
from policy_controller.controller.handlers import registry
from policy_controller.controller.health import admin, health, serving
from policy_controller.controller.identity.dates import today
from policy_controller.controller.identity.files import CertificateFiles
from policy_controller.controller.identity.handshakes import Handshakes
from policy_controller.controller.identity.keeper import Keeper
from policy_controller.controller.identity.metrics import IdentityCollector
from policy_controller.controller.identity.reviewer import Enforcers, Reviewer
from policy_controller.controller.identity.source import CertificateSource
from policy_controller.controller.kinds import DECIDING, Kind
from policy_controller.controller.metrics import (
    NodeEventsCollector,
    OperatorCollector,
    SettingsCollector,
    new_registry,
)
from policy_controller.controller.node_events import NodeEvents
from policy_controller.controller.relist import Relister
from policy_controller.controller.server import EnforcementServer
from policy_controller.controller.settings import Settings
from policy_controller.controller.signs import Signs
from policy_controller.controller.status import Condition, Question, status_document
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.trouble import Trouble
from policy_controller.controller.watches import Watches
from policy_controller.logs import lines_left_out
from policy_controller.wire.channel import HostPort

log = logging.getLogger(__name__)

WATCHES_SECONDS: Final = 120.0
"""How long a kind may go without a watch, though the API server answers, before only a restart can help."""
SILENT_SECONDS: Final = 300.0
"""How long a watch may give no sign of life, not even a question that is refused, though the API server answers LISTs."""
COMPILE_SECONDS: Final = 600.0
"""How long one round of compiling may take; the largest cluster takes some seconds, on a machine that has them."""
DOOR_SECONDS: Final = 300.0
"""How long nobody who connects may be answered."""
UNWATCHED_SECONDS: Final = 60.0
"""How long nobody may be telling of a kind that decides, before what is served is not called the cluster's state."""
UNCOMPILED_SECONDS: Final = 60.0
"""How long changes may wait for the compiler, before the same."""


class PartEnded(RuntimeError):  # noqa: N818 - named for what it says
    """A part of the operator that runs for ever has ended; the cause is the error it ended with."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the task of the {part} has ended")


class Operator:
    """One operator; `run` it once. The API server need not be there yet."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        api = Kr8sApi(settings.kubeconfig)
        self._settings = settings
        self._clock = clock
        self.store = Store(ServiceAccount(settings.namespace, settings.account))
        self.streams = NodeStreams(today)
        self.relister = Relister(api, self.store, clock, settings.relist_seconds)
        self.compile_loop = CompileLoop(
            self.store, self.streams, clock, settings.debounce_seconds, settings.rooms
        )
        self.events = PolicyEvents(self.store, api, clock, lambda: self.compile_loop.without_room)
        self.node_events = NodeEvents(api, clock)
        self.cluster_settings = ClusterSettingsSource(api, self.store, settings.namespace, clock)
        self.version = ClusterVersion(api, clock)
        self.identity = _certificate_source(settings, api, clock)
        enforcers = Enforcers(settings.namespace, settings.enforcer_account)
        self.reviewer = Reviewer(api, self.store, enforcers, clock, today, settings.max_token_reviews)
        self.handshakes = Handshakes()
        self.server = EnforcementServer(self.streams, self.reviewer, clock)
        self.hits = self.reviewer.hits
        self.crowd = Crowd(
            lambda: self.server.port, lambda: self.server.peers, settings.max_connections, clock, self.hits
        )
        self.server.subscribe(self.node_events.tampered)
        self.signs = Signs(clock)
        self.doorbell = Doorbell(clock, lambda: self.server.handshakes)
        losses = Losses(unreadable=self.store.note_unreadable, gap=self.relister.request)

        async def login() -> kopf.AiohttpSession:
            return Session.of(await api.connection(), losses, self.signs)

        self.watches = Watches(lambda: registry(self.store, self.relister.request, login), clock)
        self.store.subscribe(self.compile_loop.wake)
        self.store.subscribe(self.events.wake)
        self.compile_loop.subscribe(lambda _: self.events.wake())
        self.streams.subscribe(self.compile_loop.wake)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.health_url = ""
        """Where the health interface is, once it is."""
        self.admin_url = ""
        """Where the admin interface is, once it is."""

    async def run(self, stop: asyncio.Event, on_started: Callable[[], None]) -> None:
        """Run until `stop` is set; raises PartEnded when a part ends that must not.

        `on_started` is called when health and admin are there, and again whenever kopf has set itself up: kopf then has
        taken the process's signals, and who wants them must take them back. Nodes are served once there is a
        certificate.
        """
        async with self._interfaces():
            on_started()
            try:
                self._tasks = {
                    "watches": asyncio.create_task(self.watches.run(on_started), name="watches"),
                    "lists": asyncio.create_task(self.relister.run(), name="lists"),
                    "settings": asyncio.create_task(self.cluster_settings.run(), name="settings"),
                    "compiler": asyncio.create_task(
                        self.compile_loop.run(self.relister.synced, self.cluster_settings.known),
                        name="compiler",
                    ),
                    "events": asyncio.create_task(self.events.run(), name="events"),
                    "node events": asyncio.create_task(self.node_events.run(), name="node events"),
                    "identity": asyncio.create_task(self.identity.run(), name="identity"),
                    "version": asyncio.create_task(self.version.run(), name="version"),
                    "nodes": asyncio.create_task(self._serve_nodes(), name="nodes"),
                    "crowd": asyncio.create_task(self._bound_crowd(), name="crowd"),
                }
                await self._until(stop)
            finally:
                await self._end()

    def ailments(self) -> list[str]:
        """Why the process should be restarted; see health.Subject."""
        found = [f"The task of the {name} has ended." for name, task in self._tasks.items() if task.done()]
        missing, listed = self.watches.missing_since, self.relister.listed_at
        if missing is not None and listed is not None and listed - missing > WATCHES_SECONDS:
            # An API server that does not answer is no reason: a restart would only lose what is known.
            found.append(f"Only {self.watches.alive} of {len(Kind)} kinds are being watched.")
        for kind in Kind:
            answered = self.relister.last_listed(kind)
            if answered is not None and answered - self.signs.last(kind) > SILENT_SECONDS:
                found.append(f"The watch of {kind.value} objects has given no sign of life for long.")
        found += [f"The LISTs of {kind.value} objects do not go on." for kind in self.relister.stuck()]
        if self.compile_loop.behind_seconds() > COMPILE_SECONDS:
            found.append(f"The compiler has not finished for {self.compile_loop.behind_seconds():.0f} s.")
        if self.doorbell.unanswered_seconds() > DOOR_SECONDS:
            found.append(
                f"Nodes that connect have not been answered for {self.doorbell.unanswered_seconds():.0f} s."
            )
        return found

    def reasons_not_ready(self) -> list[Trouble]:
        """Why nodes are not served the cluster's state; see health.Subject."""
        found = [*self.relister.complaints(), *self._unwatched()]
        ends = self.identity.ends
        if not self.server.alive:
            found.append(
                Trouble("Nodes are not served: there is no certificate yet.", self.identity.trouble())
            )
        elif ends is not None and ends <= today():
            found.append(
                Trouble("Nodes are not served: the certificate has expired.", self.identity.trouble())
            )
        found += self.cluster_settings.complaints
        if (
            self.relister.synced.is_set()
            and self.cluster_settings.known.is_set()
            and self.compile_loop.revision is None
        ):
            found.append(Trouble("Nothing has been compiled yet."))
        elif self.compile_loop.behind_seconds() > UNCOMPILED_SECONDS:
            seconds = self.compile_loop.behind_seconds()
            found.append(Trouble(f"What changed has not been compiled for {seconds:.0f} s."))
        if self.compile_loop.failing:
            found.append(Trouble("The last state of the cluster does not compile."))
        return found

    def warnings(self) -> list[Trouble]:
        """What somebody should mend or know of, though nodes are served; see health.Subject."""
        version = self.version.warning
        return [
            *self.cluster_settings.warnings,
            *self.relister.warnings(),
            *unread_choices(self.store),
            *([] if version is None else [Trouble(version)]),
        ]

    def _unwatched(self) -> list[Trouble]:
        found: list[Trouble] = []
        for kind in sorted(DECIDING, key=lambda kind: kind.value):
            seconds, status = self.signs.unwatched_seconds(kind), self.signs.refused(kind)
            if seconds > UNWATCHED_SECONDS:
                why = f": the API server answers {status}" if status else ""
                found.append(Trouble(f"{kind.value} objects have not been watched for {seconds:.0f} s{why}."))
        return found

    async def status(self, question: Question) -> dict[str, Any]:
        """The document of /status."""
        loop = self.compile_loop
        told = complaints(self.store, loop.without_room)
        cluster, written = self.store.cluster(), self.store.written(question.policies or None)
        moment = (
            loop.compiler,
            -1 if loop.revision is None else loop.revision,
            self.streams.glance(),
            loop.shut,
        )
        closed = frozenset(one.policy.ref for one in told if one.closes)
        condition = Condition(
            at=today(),
            synced=self.relister.synced.is_set(),
            kubernetes=self.version.name,
            not_ready=list(map(str, self.reasons_not_ready())),
            warnings=list(map(str, self.warnings())),
        )

        def document() -> dict[str, Any]:
            picture = Picture(written, *moment, closed, cluster.other_nodes)
            return status_document(cluster, picture, told, condition, question)

        # Thousands of policies on hundreds of nodes take a second, which others want as well.
        return await asyncio.to_thread(document)

    async def _until(self, stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({stopped, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        for name, task in self._tasks.items():
            if task.done() and not stop.is_set():
                raise PartEnded(name) from (None if task.cancelled() else task.exception())

    async def _end(self) -> None:
        # kopf cleans up after itself when it is asked to stop, and not when it is cancelled.
        self.watches.stop()
        for name, task in self._tasks.items():
            if name != "watches":
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def registry(self) -> CollectorRegistry:
        """All metrics."""
        collector = OperatorCollector(
            store=self.store,
            streams=self.streams,
            server=self.server,
            compile_loop=self.compile_loop,
            relister=self.relister,
            events=self.events,
            watches=self.watches,
        )
        callers = IdentityCollector(
            self.server, self.reviewer, self.identity, self.handshakes, lambda: self.doorbell.answered
        )
        switch = SettingsCollector(self.cluster_settings, self.store)
        self.hits.read(Bound.LOG_LINES, lambda: lines_left_out() + self.server.untold)
        self.hits.read(Bound.NODE_EVENTS, lambda: self.node_events.dropped)
        self.hits.read(Bound.ENDED_ADDRESSES, lambda: self.streams.ended_forgotten)
        counted = (collector, NodeEventsCollector(self.node_events), switch, callers, self.hits)
        return new_registry(counted, self.compile_loop)

    @contextlib.asynccontextmanager
    async def _interfaces(self) -> AsyncIterator[None]:
        metrics = self.registry()
        async with (
            serving(self._settings.health, health(self, metrics), self.hits) as self.health_url,
            serving(self._settings.admin, admin(self, metrics), self.hits) as self.admin_url,
        ):
            yield

    async def _bound_crowd(self) -> None:
        await self.server.serving.wait()
        await self.crowd.run()

    async def _serve_nodes(self) -> None:
        await self.identity.ready.wait()
        await self.server.start(self._settings.listen, self.identity.certificate)
        try:
            # Serving goes on by itself.
            await self.doorbell.run(HostPort(self._settings.listen.host, self.server.port))
        finally:
            await self.server.stop()


def _certificate_source(settings: Settings, api: Kr8sApi, clock: Clock) -> CertificateSource:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key, clock, today)
    return Keeper(api, settings.namespace, clock, today)
