"""Pods that start under default deny send and receive from their first moment, long before the API has their address.

Nothing passes in a direction in which their policy isolates them: with an operator that is prompt, with one that hears of a pod
long after it runs, and with none.
"""

import asyncio
import enum
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from compilers.model.words import Direction
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.whole_path import NODES, WholePath
from policy_controller.testing.extent import Extent
from policy_controller.testing.laboratory import NetworkKind, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, ProbeResult, Transport

pytestmark = [pytest.mark.packets, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

TCP_PORT, UDP_PORT = 80, 53
EVERY_MS: Final = 15.0
LONG: Final = 0.2
"""Seconds for which a pod sends and receives before anybody tells of its address."""
RUNTIME: Final = 0.25
"""Seconds from a network that stands to the first process of the pod: a kubelet asks its runtime to make the container, then to start it."""
SILENCE: Final = 0.08
"""Attentive seconds until nobody answers: a pod of the laboratory answers within one or two thousandths."""
AT_ONCE: Final = 4
"""Pods that start at the same time."""
ANSWERED: Final = frozenset({Outcome.ACCEPTED, Outcome.REFUSED})
TYPES: Final = {Direction.INGRESS: "Ingress", Direction.EGRESS: "Egress"}
ISOLATED: Final[dict[str, frozenset[Direction]]] = {
    "both": frozenset(Direction),
    "in": frozenset({Direction.INGRESS}),
    "out": frozenset({Direction.EGRESS}),
}
"""By label: the directions in which a policy isolates the pods and admits nothing."""
NUMBERS: Final = itertools.count(1)


class Operator(enum.Enum):
    """When the node hears of a pod that is bound to it."""

    PROMPT = "up"
    SLOW = "slowed"
    AWAY = "down"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(network: NetworkKind, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    """Nodes with a pod that nobody isolates, whom new pods speak with, and one that is isolated already."""
    async with WholePath(tmp_path_factory.mktemp("starts"), network) as path:
        for node in NODES:
            for app in ("peer", "both"):
                pod = path.laboratory.add_pod(path.laboratory.nodes[node], f"{app}-{node}")
                path.prober.listen(Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)))
                path.tell_pod(pod, app)
        path.tell_policies({app: deny(app, directions) for app, directions in ISOLATED.items()})
        await path.settled()
        yield path


def deny(app: str, directions: frozenset[Direction]) -> dict[str, Any]:
    types = [TYPES[direction] for direction in sorted(directions, key=lambda one: one.value)]
    return {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": types}


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of packets in each direction of one pod."""

    isolated: frozenset[Direction]
    results: dict[Direction, list[ProbeResult]]

    @property
    def leaks(self) -> list[ProbeResult]:
        """Answers in directions in which the pod is isolated."""
        return [
            result
            for direction in self.isolated
            for result in self.results[direction]
            if result.outcome in ANSWERED
        ]


def probes(path: WholePath, pod: Pod, number: int) -> dict[Direction, list[Probe]]:
    """From and to the pod, with a pod of its own node and one of the other; transport and family turn and turn about."""
    knocks = ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    found: dict[Direction, list[Probe]] = {direction: [] for direction in Direction}
    for index, node in enumerate(NODES):
        peer, family = path.laboratory.pods[f"peer-{node}"], (number // 2 + index) % 2
        for turn, (direction, source, destination) in enumerate(
            ((Direction.EGRESS, pod, peer), (Direction.INGRESS, peer, pod))
        ):
            start = Endpoint(source.namespace, source.addresses[family])
            knock = knocks[(number + index + turn) % 2]
            found[direction].append(Probe(start, destination.addresses[family], *knock))
    return found


async def start(path: WholePath, operator: Operator, number: int) -> Seen:
    """One pod starts, is heard of, and ends."""
    app, node = tuple(ISOLATED)[number % len(ISOLATED)], NODES[number % len(NODES)]
    name = f"{app}-{number}"
    if operator is Operator.PROMPT:
        path.tell_bound(name, node, app)
    pod = await asyncio.to_thread(path.laboratory.add_pod, path.laboratory.nodes[node], name)
    await asyncio.sleep(RUNTIME)
    async with AsyncExitStack() as stack:
        listening = path.prober.listen(Listener(pod.namespace, name, (TCP_PORT,), (UDP_PORT,)))
        stack.callback(listening.close)
        watches = {
            direction: [
                await stack.enter_async_context(path.prober.watch(probe, every_ms=EVERY_MS, timeout=SILENCE))
                for probe in some
            ]
            for direction, some in probes(path, pod, number).items()
        }
        await asyncio.sleep(LONG)
        if operator is not Operator.AWAY:
            path.tell_bound(name, node, app)
            await asyncio.sleep(LONG / 2)
            path.tell_pod(pod, app)
            await path.settled()
        await asyncio.sleep(LONG / 2 + 2 * SILENCE)
        results = {
            direction: [result for watch in some for result in watch.results]
            for direction, some in watches.items()
        }
    if operator is not Operator.AWAY:
        path.tell_no_pod(pod)
    await asyncio.to_thread(path.laboratory.remove_pod, pod)
    return Seen(ISOLATED[app], results)


@pytest.mark.parametrize("operator", Operator, ids=lambda one: one.value)
async def test_nothing_passes_a_pod_that_starts_where_its_policy_isolates_it(
    path: WholePath, operator: Operator, extent: Extent, record_property: Record
) -> None:
    if operator is Operator.AWAY:
        await path.go_away()
        await path.nodes_noticed()
    pods = extent.choose(4, 200)
    seen: list[Seen] = []
    for _ in range(pods // AT_ONCE):
        group = [start(path, operator, next(NUMBERS)) for _ in range(AT_ONCE)]
        seen += await asyncio.gather(*group)
    leaks = [leak for one in seen for leak in one.leaks]
    record_property(f"pod starts under default deny, operator {operator.value}", len(seen))
    record_property(
        f"pod starts: probes, operator {operator.value}",
        sum(len(results) for one in seen for results in one.results.values()),
    )
    record_property(f"pod starts: leaks, operator {operator.value}", len(leaks))
    assert not leaks, [(leak.probe.transport, str(leak.probe.destination), leak.peer) for leak in leaks]
