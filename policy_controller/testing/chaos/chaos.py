"""Chaos from beginning to end: everything is started, the plan is carried out, all that was seen is judged.

Knows the order of things and what it comes to. Each part is a module beside this one.
"""

import asyncio
import enum
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from policy_controller.testing.chaos import departures, meddling, outages
from policy_controller.testing.chaos.journal import Journal
from policy_controller.testing.chaos.judge import Asked, Expected, Judge, Probed, Tally
from policy_controller.testing.chaos.knocking import Knocking, Stop
from policy_controller.testing.chaos.outages import Done
from policy_controller.testing.chaos.plan import FAULTS, Kind, Phase, Step, plan
from policy_controller.testing.chaos.scene import Scene
from policy_controller.testing.chaos.stations import FORGET_SECONDS
from policy_controller.testing.chaos.town import Town
from policy_controller.testing.chaos.verdicts import SERVICES, Question, Verdicts
from policy_controller.testing.generators import seeded
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.commits import Commits
from policy_controller.testing.installation.installation import (
    DEPLOYMENT,
    Installation,
    InstallationError,
    stored_cluster,
)
from policy_controller.testing.installation.settings import NAMESPACE
from policy_controller.testing.laboratory import Laboratory, NetworkKind
from policy_controller.testing.laboratory.netns import write_settings

RATE: Final = 950.0
"""Questions a second."""
PODS: Final = 15
REPLICAS: Final = 2
RELIST_SECONDS: Final = 10
"""Instead of 300: what events did not tell is to be noticed within a chaos of minutes."""
MOST_INSIDE: Final = 0.05
"""Of the probes, in windows."""
TIMEOUTS: Final = {
    "netfilter/nf_conntrack_udp_timeout": str(FORGET_SECONDS),
    "netfilter/nf_conntrack_udp_timeout_stream": str(FORGET_SECONDS),
}
SEEDS: Final = 1 << 32

TABLE: Final[Mapping[Kind, Done]] = {**outages.TABLE, **meddling.TABLE, **departures.TABLE}


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    seed: int
    seconds: float
    network: NetworkKind
    nodes: tuple[str, ...]


class Oracle(enum.Enum):
    """Whether every kernel held at the end what the API server's objects compile to."""

    SAME = "same bytes"
    OTHER = "other bytes"


@dataclass(frozen=True, slots=True)
class Report:
    """What a chaos came to."""

    order: Order
    tally: Tally
    journal: Journal
    seconds: float
    oracle: Oracle
    trouble: str
    """What did not come about, and ended the chaos early; "" if nothing."""
    told: tuple[str, ...]
    """The first leaks and refusals in words."""

    @property
    def faults(self) -> int:
        """How many were done."""
        return sum(count for kind, count in self.journal.done.items() if Kind(kind) in FAULTS)

    @property
    def holds(self) -> bool:
        """Whether nothing leaked, nothing was refused, and windows were few."""
        return (
            not self.tally.leaks
            and not self.tally.refusals
            and not self.trouble
            and self.oracle is Oracle.SAME
            and self.tally.inside_windows <= MOST_INSIDE * self.tally.probes
        )


@asynccontextmanager
async def staged(order: Order, directory: Path) -> AsyncIterator[Scene]:
    """Everything is started and knocks; `directory` holds files and logs. Raises what its parts raise."""
    async with AsyncExitStack() as stack:
        laboratory = stack.enter_context(Laboratory(network=order.network))
        installation = await stack.enter_async_context(Installation(laboratory, directory))
        api = await installation.start()
        await _replicate(api)
        for name in order.nodes:
            node = await asyncio.to_thread(laboratory.add_node, name)
            await asyncio.to_thread(laboratory.run_in, node.namespace, lambda: write_settings(TIMEOUTS))
            await installation.add_node(name)
        await installation.settled()
        knocking = await stack.enter_async_context(Knocking(directory / "probes", RATE, order.seed))
        journal = Journal(lambda: stored_cluster(api))
        town = Town(api, laboratory, knocking, journal)
        await town.found(seeded(order.seed), PODS)
        commits = {
            name: stack.enter_context(Commits(node.namespace)) for name, node in laboratory.nodes.items()
        }
        yield Scene(installation, laboratory, api, knocking, town, journal, directory, commits)


async def chaos(order: Order, directory: Path, say: Callable[[str], None]) -> Report:
    """Start everything, carry out the plan, and judge; `directory` holds files and logs. Raises what its parts raise."""
    say("starting")
    async with staged(order, directory) as scene:
        began = time.monotonic()
        trouble = await _carried_out(
            scene, plan(order.seed, order.seconds, order.network), order.seconds, say
        )
        seconds = time.monotonic() - began
        await scene.knocking.tell(Stop())
        scene.journal.calm()
    say("judging")
    tally, questions = judged(scene.journal, scene.knocking)
    told = tuple(
        _words(what, probe, questions[probe.asked.question], scene.journal, began)
        for what, probe in tally.told
    )
    oracle = Oracle.OTHER if trouble else Oracle.SAME
    return Report(order, tally, scene.journal, seconds, oracle, trouble, told)


async def _replicate(api: Api) -> None:
    """Two operators, who compare the whole cluster often."""
    (deployment,) = [one for one in await api.list("Deployment") if one["metadata"]["name"] == DEPLOYMENT]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "OPERATOR_RELIST_SECONDS", "value": str(RELIST_SECONDS)})
    spec = {"replicas": REPLICAS, "template": {"spec": {"containers": [container]}}}
    await api.patch("Deployment", NAMESPACE, DEPLOYMENT, {"spec": spec})


async def _carried_out(
    scene: Scene, steps: tuple[Step, ...], seconds: float, say: Callable[[str], None]
) -> str:
    """Do what the plan says; what did not come about, or "". At the end all works, and every kernel holds what it should."""
    began = time.monotonic()
    late = 0.0
    try:
        await scene.works()
        for step in steps:
            passed = time.monotonic() - began
            if passed > seconds:
                break
            late = max(late, passed - step.at_ms / 1000)
            await asyncio.sleep(step.at_ms / 1000 + late - passed)
            say(f"{time.monotonic() - began:7.2f} {step.phase.value}: {step.kind.value}")
            await _do(step, scene)
        await scene.works()
    except InstallationError as error:
        return str(error)
    return ""


async def _do(step: Step, scene: Scene) -> None:
    if step.kind is Kind.ALL_WORKS:
        await scene.works()
        return
    if step.phase is Phase.STORM:
        scene.journal.storm()
    await TABLE[step.kind](scene, seeded(step.draw))
    scene.journal.done[step.kind.value] += 1


def judged(journal: Journal, knocking: Knocking) -> tuple[Tally, list[Question]]:
    """What all that was seen comes to, and the questions by the numbers that it calls them."""
    residents = {resident.number: resident for resident in journal.residents}
    verdicts = Verdicts(journal.clusters, journal.residents)
    numbers: dict[Question, int] = {}
    asked: list[Asked] = []
    questions: list[Question] = []

    def probes() -> Iterator[Probed]:
        for one in knocking.observed():
            number = numbers.setdefault(one.question, len(numbers))
            if number == len(asked):
                source, destination = (residents[end] for end in one.question[:2])
                asked.append(Asked(number, source.node, destination.node))
                questions.append(one.question)
            yield Probed(asked[number], one.sent, one.ended, one.seen)

    @cache
    def expected(number: int) -> tuple[Expected, ...]:
        return tuple(verdicts.of(questions[number]))

    tally = Judge(journal.moments, journal.stretches, journal.windows, expected).tally(probes())
    return tally, questions


def _words(what: str, probe: Probed, question: Question, journal: Journal, began: float) -> str:
    residents = {resident.number: resident for resident in journal.residents}
    source, destination = residents[question[0]], residents[question[1]]
    service = SERVICES[question[3]]
    return (
        f"{what} at {probe.sent - began:.3f} s: {source.namespace}/{source.name} ({source.node}) -> "
        f"{destination.namespace}/{destination.name} ({destination.node}) "
        f"{destination.addresses[question[2]]} {service.protocol.value} {service.port}: {probe.seen.name.lower()} after "
        f"{(probe.ended - probe.sent) * 1000:.1f} ms"
    )
