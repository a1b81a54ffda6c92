"""One pod on its node: network, volumes, containers that are started again, probes, and what is reported of it.

Knows the order of these. Knows nothing of other pods.
"""

import asyncio
import contextlib
import datetime
import logging
import math
import signal
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.kubelet.client import MISSING, RefusedError
from policy_controller.testing.kubelet.containers import RunningContainer
from policy_controller.testing.kubelet.contents import MissingError, with_account_volume
from policy_controller.testing.kubelet.furnishing import Furnishing
from policy_controller.testing.kubelet.orders import Settled, order
from policy_controller.testing.kubelet.places import Places
from policy_controller.testing.kubelet.probes import Asking, answers
from policy_controller.testing.kubelet.reports import State, stamp, status_of
from policy_controller.testing.kubelet.spec import (
    Container,
    PodSpec,
    Probe,
    SpecError,
    read_pod_spec,
)
from policy_controller.testing.laboratory import Address, LaboratoryError, Node, Pod

Json = dict[str, Any]
log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0
"""Between an end and the next start; a real kubelet begins with 10 s and goes up to 5 minutes."""
GOOD_SECONDS: Final = 10.0
"""After such a life the pause is the first one again."""
AGAIN_SECONDS: Final = 0.3


class PodLife:
    """A pod that its node runs; `run` until it is ended."""

    def __init__(self, places: Places, tree: Json) -> None:
        self._places = places
        self.tree = tree
        metadata = tree["metadata"]
        self.uid: Final = str(metadata["uid"])
        self.title: Final = f"{metadata['namespace']}/{metadata['name']}"
        self._node: Final[Node] = places.laboratory.nodes[tree["spec"]["nodeName"]]
        self._built: Pod | None = None
        self._addresses: tuple[Address, ...] = ()
        self._since = stamp(datetime.datetime.now(datetime.UTC))
        self._states: dict[str, State] = {}
        self._running: dict[str, RunningContainer] = {}
        self._furnishing: Furnishing | None = None
        self._changed, self._news = asyncio.Event(), asyncio.Event()
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._halted: set[RunningContainer] = set()
        self._task: asyncio.Task[None] | None = None
        self.accidents = 0
        """How often a container has ended that nobody halted."""

    @property
    def name(self) -> str:
        """Its name in the API."""
        return str(self.tree["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace in the API."""
        return str(self.tree["metadata"]["namespace"])

    @property
    def node(self) -> str:
        """Its node."""
        return self._node.name

    @property
    def network(self) -> str:
        """The name of its network namespace."""
        return self._node.namespace if self._built is None else self._built.namespace

    def start(self) -> None:
        """Begin; `end` ends it."""
        self._task = asyncio.create_task(self._run(), name=self.title)

    @property
    def failure(self) -> BaseException | None:
        """What went wrong with this code, if anything: never what goes wrong with a container."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def look(self, tree: Json) -> None:
        """The pod, or something it may need, has changed."""
        self.tree = tree
        self._changed.set()

    def renew_tokens(self) -> None:
        """Replace its tokens soon, whatever their age."""
        if self._furnishing is not None:
            self._furnishing.renew_tokens()

    def log_of(self, container: str) -> Path:
        """Where the container's output goes."""
        return self._places.directory / f"{self.namespace}_{self.name}_{container}.log"

    def send_signal(self, container: str, number: signal.Signals) -> None:
        """Send a signal to the container's first process."""
        running = self._running.get(container)
        if running is not None:
            running.send_signal(number)

    def program(self, container: str) -> int | None:
        """The number of its first process as this machine counts; None when it does not run."""
        running = self._running.get(container)
        return None if running is None else running.program

    async def halt(self, number: signal.Signals) -> None:
        """End the containers with a signal, and start none again before `resume`. Returns when they have ended.

        As with a pod that is deleted, whoever has not ended after the pod's grace is killed: the first process of a
        container does not get a signal that it has no handler for yet.
        """
        self._may_start.clear()
        ending = [running for running in self._running.values() if running.is_running]
        self._halted |= set(ending)
        await asyncio.gather(*(running.stop(number, self._grace()) for running in ending))

    def resume(self) -> None:
        """Containers are started again, at once and with volumes as they are to be now."""
        self._may_start.set()

    async def end(self, longest: float = math.inf) -> None:
        """Stop the containers with the pod's grace, or with the longest, and take away network and files."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._task
        grace = min(self._grace(), longest)
        await asyncio.gather(*(running.stop(signal.SIGTERM, grace) for running in self._running.values()))
        if self._built is not None:
            with contextlib.suppress(LaboratoryError):
                await asyncio.to_thread(self._places.laboratory.remove_pod, self._built)
            self._places.given.difference_update(self._addresses)
        if self._furnishing is not None:
            self._furnishing.remove()
        with contextlib.suppress(RefusedError, aiohttp.ClientError, OSError):
            await self._places.client.shut_door(self.uid)

    def _grace(self) -> float:
        said = self.tree["metadata"].get("deletionGracePeriodSeconds")
        return float(said if said is not None else self.tree["spec"].get("terminationGracePeriodSeconds", 30))

    async def _run(self) -> None:
        try:
            spec = self._admitted(read_pod_spec(self.tree["spec"]))
        except SpecError as fault:
            names = [str(one.get("name")) for one in self.tree["spec"].get("containers", [])]
            self._states = {
                name: State(name, "", waiting=("CreateContainerConfigError", str(fault))) for name in names
            }
            log.warning("%s: %s", self.title, fault)
            await self._report()
            return
        self._states = {one.name: State(one.name, one.image) for one in spec.containers}
        await self._connect(spec)
        furnishing = self._furnishing = Furnishing(self._places, self._tree_now(), spec, spec.volumes)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_reporting())
            await self._first_fill(furnishing)
            group.create_task(furnishing.keep_tokens(self._changed))
            group.create_task(self._keep_filled(furnishing))
            for container in spec.containers:
                group.create_task(self._keep(container, spec, furnishing))

    def _admitted(self, spec: PodSpec) -> PodSpec:
        """The spec with what the API server's admission adds: the volume of the service account's token."""
        if spec.restart_policy != "Always":
            raise SpecError(f"restartPolicy {spec.restart_policy} is not played")
        account = self._places.picture.get("ServiceAccount", self.namespace, spec.service_account_name)
        wanted = spec.automount_service_account_token
        if wanted is None:
            wanted = (account or {}).get("automountServiceAccountToken", True)
        if account is None or not wanted:
            return spec
        volume, mount = with_account_volume()
        containers = [
            msgspec.structs.replace(container, volume_mounts=[*container.volume_mounts, mount])
            for container in spec.containers
        ]
        return msgspec.structs.replace(spec, containers=containers, volumes=[*spec.volumes, volume])

    async def _connect(self, spec: PodSpec) -> None:
        if spec.host_network:
            self._addresses = self._node.addresses
            return
        laboratory, name = self._places.laboratory, f"{self.namespace}.{self.name}"
        addresses = self._places.take_addresses(self._node)
        self._built = await asyncio.to_thread(laboratory.add_pod, self._node, name, addresses)
        self._addresses = self._built.addresses

    async def _first_fill(self, furnishing: Furnishing) -> None:
        """Returns once nothing is missing that the containers need."""
        while True:
            self._changed.clear()
            try:
                await furnishing.ask_for_tokens()
                furnishing.fill(self._tree_now())
            except (MissingError, RefusedError, aiohttp.ClientError, OSError) as missing:
                for state in self._states.values():
                    state.waiting = ("ContainerCreating", str(missing))
                self._news.set()
            else:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS):
                    await self._changed.wait()

    async def _keep_filled(self, furnishing: Furnishing) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            with contextlib.suppress(MissingError):
                # What was there and is gone stays in the volume, as with a real kubelet.
                furnishing.fill(self._tree_now())

    async def _keep(self, container: Container, spec: PodSpec, furnishing: Furnishing) -> None:
        state, pause = self._states[container.name], FIRST_PAUSE
        while True:
            await self._may_start.wait()
            begun = time.monotonic()
            try:
                furnishing.fill(self._tree_now())
                hostname = self._node.name if spec.host_network else self.name
                pod = Settled(self._tree_now(), spec, self.network, hostname, furnishing)
                ordered = order(self._places, pod, container, self.log_of(container.name))
            except (SpecError, MissingError) as fault:
                state.waiting = ("CreateContainerConfigError", str(fault))
                self._news.set()
            else:
                running = await RunningContainer.start(ordered)
                state.last = await self._live(container, running)
                state.restarts += 1
                state.waiting = ("CrashLoopBackOff", f"back-off {pause:.1f} s restarting container")
                self._news.set()
                if running in self._halted:
                    self._halted.discard(running)
                    pause = FIRST_PAUSE
                    continue
                self.accidents += 1
            pause = FIRST_PAUSE if time.monotonic() - begun > GOOD_SECONDS else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _live(self, container: Container, running: RunningContainer) -> int:
        """One life of a container, with its probes; the exit code."""
        state = self._states[container.name]
        self._running[container.name] = running
        state.running_since = datetime.datetime.now(datetime.UTC)
        state.started = container.startup_probe is None
        state.ready = state.started and container.readiness_probe is None
        self._news.set()
        probing = asyncio.create_task(self._probe(container, running))
        try:
            return await running.ended()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
            state.running_since, state.started, state.ready = None, False, False

    async def _probe(self, container: Container, running: RunningContainer) -> None:
        state = self._states[container.name]
        asking = Asking(self._node.namespace, str(self._addresses[0]), container.ports)

        async def fatal(probe: Probe) -> bool:
            """Whether it has succeeded; False: it has failed, and the container is being stopped."""
            async for answer in answers(probe, asking):
                if answer.verdict is False:
                    log.warning("%s: %s is stopped: %s", self.title, container.name, answer.reason)
                    await running.stop(signal.SIGTERM, self._grace())
                    return False
                if answer.verdict and probe is container.startup_probe:
                    return True
            return False

        if container.startup_probe is not None and not await fatal(container.startup_probe):
            return
        state.started, state.ready = True, container.readiness_probe is None
        self._news.set()
        async with asyncio.TaskGroup() as group:
            if container.liveness_probe is not None:
                group.create_task(fatal(container.liveness_probe))
            if container.readiness_probe is not None:
                async for answer in answers(container.readiness_probe, asking):
                    if answer.verdict is not None and answer.verdict != state.ready:
                        state.ready = answer.verdict
                        self._news.set()

    def _tree_now(self) -> Json:
        return {**self.tree, "status": self._status()}

    def _status(self) -> Json:
        return status_of(self._states.values(), self._addresses, self._node.addresses, self._since)

    async def _keep_reporting(self) -> None:
        opened = False
        while True:
            opened = opened or await self._open_door()
            if not opened or not await self._report():
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            await self._news.wait()
            self._news.clear()

    async def _open_door(self) -> bool:
        """Whether the API server knows how the pod's ports and logs are reached."""
        logs = {name: str(self.log_of(name)) for name in self._states}
        try:
            await self._places.client.open_door(Door(self.uid, self.network, logs))
        except (RefusedError, aiohttp.ClientError, OSError):
            return False
        return True

    async def _report(self) -> bool:
        """Whether the API server knows the pod's state, or the pod is gone."""
        try:
            told = await self._places.client.patch(
                "Pod", self.namespace, self.name, {"status": self._status()}, "/status"
            )
        except RefusedError as refusal:
            return refusal.status == MISSING
        except (aiohttp.ClientError, OSError):
            return False
        self._places.picture.note({**told, "kind": "Pod"})
        return True
