"""Whether the enforcer lives, whether it enforces, and its numbers, over HTTP on a port of its own.

Knows the questions of kubelet and Prometheus. Changes nothing: what it is asked about answers for itself.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from policy_controller import bounded
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.preflight import Finding
from policy_controller.enforcer.reach import Reach
from policy_controller.enforcer.saving import Saving
from policy_controller.wire.channel import HostPort
from policy_controller.wire.refused import plain

HUNG_SECONDS: Final = 120.0
"""A piece of kernel work that takes longer has hung; the largest table loads in a few seconds."""

SLOW_SECONDS: Final = 5.0
"""Beyond it what is in force may be far behind the operator's word; the largest table loads in less."""

LOST_SECONDS: Final = 900.0
"""A step that has its retries in it is lost beyond: five attempts of two minutes each fit."""

MET: Final[Mapping[bounded.Met, Bound]] = {
    bounded.Met.CONNECTIONS: Bound.HTTP_CONNECTIONS,
    bounded.Met.ANSWERS: Bound.HTTP_ANSWERS,
}

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Step:
    """What must happen again and again: for how many seconds it has been late, and beyond how many only a restart helps.

    A step that is late makes the node not ready after SLOW_SECONDS.
    """

    what: str
    late: Callable[[], float]
    lost: float


class ListenError(Exception):
    """The address cannot be listened on; the text says why."""


@dataclass(frozen=True, slots=True)
class Health:
    """Answers from what the parts say of themselves; each answer is None when all is well, else one sentence.

    `look` examines the node's preconditions at every question, so that one that goes away at run time is seen.
    `meddling`: why somebody else decides what is in force (Tampering.trouble).
    `tasks` are those without which the enforcer does nothing. `steps` are theirs: the first that is late is told.
    """

    enforcement: Enforcement
    kernel: Kernel
    reach: Reach
    saving: Saving
    meddling: Callable[[], str | None]
    metrics: Metrics
    look: Callable[[], Awaitable[tuple[Finding, ...]]]
    tasks: Mapping[str, "asyncio.Task[Any]"]
    steps: Sequence[Step]

    def not_alive(self) -> str | None:
        """Why a restart is needed."""
        for name, task in self.tasks.items():
            if task.done():
                return f"the task that has to {name} has ended"
        if self.kernel.busy_seconds() > HUNG_SECONDS:
            return f"the kernel has not answered for {self.kernel.busy_seconds():.0f} s"
        for step in self.steps:
            if step.late() > step.lost:
                return f"{step.what} for {step.late():.0f} s"
        if not self.enforcement.adopted:
            # What the node had is in force before anybody hears that its enforcer lives.
            trouble = self.enforcement.trouble
            return "the tables have not been established yet" + (
                f": {plain(str(trouble))}" if trouble else ""
            )
        return None

    async def not_ready(self) -> str | None:
        """Why this node does not enforce the operator's last word, the most basic reason first."""
        reason = self.not_alive()
        if reason is not None:
            return reason
        for finding in await self.look():
            return finding.sentence
        if self.kernel.busy_seconds() > SLOW_SECONDS:
            return f"the kernel has been busy for {self.kernel.busy_seconds():.0f} s"
        for step in self.steps:
            if step.late() > SLOW_SECONDS:
                return f"{step.what} for {step.late():.0f} s"
        if self.enforcement.trouble is not None:
            return f"the kernel does not hold what it should: {plain(str(self.enforcement.trouble))}"
        meddling = self.meddling()
        if meddling is not None:
            return meddling
        if self.enforcement.lingering is not None:
            return f"connections that should have ended may go on: {plain(str(self.enforcement.lingering))}"
        refused = self.enforcement.session.refused
        if refused is not None:
            whole = "not whole" if refused.is_of_single_objects else "not"
            return f"generation {refused.generation} is {whole} in force: {refused.object}: {refused.reason}"
        sentence = KNOWLEDGE_SENTENCES[self.enforcement.session.knowledge]
        if sentence is None or self.reach.trouble is None:
            return sentence
        return f"{sentence} ({self.reach.trouble})"

    def warnings(self) -> tuple[str, ...]:
        """What somebody should mend although the node enforces what it should: no restart and no other node mends it."""
        held = self.enforcement.session.in_force
        off = held is not None and held.rule_set.is_off
        return (*((OFF,) if off else ()), *((self.saving.trouble,) if self.saving.trouble else ()))


OFF: Final = "enforcement is off in the whole cluster: no policy has any effect"


KNOWLEDGE_SENTENCES: Final[Mapping[Knowledge, str | None]] = {
    Knowledge.NOTHING: "no generation has ever been applied on this node: every pod is open until the operator is reached",
    Knowledge.STALE: "what is in force is not the operator's last word: it stays in force until a later one is applied",
    Knowledge.CURRENT: None,
}


def steps_of(
    enforcement: Enforcement, looked: Callable[[], float], compared: Callable[[], float]
) -> tuple[Step, ...]:
    """The steps of an enforcer; `looked`, `compared`: how late the looks at the node and at the tables are."""
    return (
        Step("what has been said is not in force yet", enforcement.turn_seconds, LOST_SECONDS),
        Step("the node has not been looked at", looked, HUNG_SECONDS),
        Step("the tables have not been compared with what they should be", compared, LOST_SECONDS),
    )


def application(health: Health) -> web.Application:
    """/healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.not_alive(), health.warnings())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(await health.not_ready(), health.warnings())

    async def metrics(_: web.Request) -> web.Response:
        health.metrics.overdue(len(health.enforcement.overdue()))
        health.metrics.unsaved(health.saving.failing_seconds())
        return web.Response(body=health.metrics.text(), headers={"Content-Type": METRICS_TYPE})

    served = web.Application()
    served.router.add_get("/healthz", healthz)
    served.router.add_get("/readyz", readyz)
    served.router.add_get("/metrics", metrics)
    return served


@asynccontextmanager
async def serving(health: Health, endpoint: HostPort) -> AsyncIterator[tuple[str, int]]:
    """Listen for the length of the block; yields the address and port. Raises ListenError."""

    def note(met: bounded.Met) -> None:
        health.metrics.hits.note(MET[met])

    served = bounded.serving(application(health), endpoint.host, endpoint.port, note)
    async with AsyncExitStack() as stack:
        try:
            bound = await stack.enter_async_context(served)
        except OSError as error:
            raise ListenError(error.strerror or str(error)) from error
        yield bound


def _answer(reason: str | None, warnings: tuple[str, ...]) -> web.Response:
    lines = (reason or "ok", *(f"warning: {sentence}" for sentence in warnings))
    return web.Response(text="".join(f"{line}\n" for line in lines), status=200 if reason is None else 503)
