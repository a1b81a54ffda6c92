"""A pod that left the API and still runs, with packets and the whole path from the operator's store.

Its gates stay on its node until it has gone from there or another pod has its address; what peers admit it to is gone at once.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from policy_controller.testing.agreement.tests.scene import Record, command
from policy_controller.testing.agreement.tests.whole_path import WholePath
from policy_controller.testing.laboratory import NetworkKind, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

TCP_PORT, UDP_PORT = 80, 53
TRANSPORTS: Final = ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
NUMBERS: Final = itertools.count(1)
WITHIN: Final = 10.0
"""Seconds for a departed pod to be missed; the node is looked at every second."""
EVERY_MS: Final = 10.0
LATER: Final = 0.5
"""Seconds of probing after the change; an answer takes some milliseconds."""
TABLE: Final = ("inet", "policy-controller")
ANSWERED: Final = frozenset({Outcome.ACCEPTED, Outcome.REFUSED})

Spec = dict[str, Any]


def labelled(app: str) -> Spec:
    return {"podSelector": {"matchLabels": {"app": app}}}


@dataclass(frozen=True, slots=True)
class Village:
    """Pods that answer. `gone` is isolated in both directions: friends may come in, and it may go to `server`, by its address.

    `guarded` admits `gone`, and nobody else. `near` and `far` are isolated by nobody, as is `plain`.
    """

    path: WholePath
    gone: Pod
    friend: Pod
    server: Pod
    guarded: Pod
    near: Pod
    far: Pod
    plain: Pod

    async def passes(self, source: Pod, destination: Pod) -> bool:
        """Whether first packets pass, by every transport and family, which must all fare alike."""
        outcomes = {result.outcome for result in await self.path.prober.run(probes(source, destination))}
        assert outcomes in ({Outcome.ACCEPTED}, {Outcome.TIMED_OUT}), outcomes
        return outcomes == {Outcome.ACCEPTED}

    async def closed_pairs(self) -> int:
        """What the policies deny of `gone` is denied; how many probes said so."""
        others = (self.near, self.far)
        ends = [(other, self.gone) for other in others] + [(self.gone, other) for other in others]
        passing = await asyncio.gather(*(self.passes(*pair) for pair in ends))
        assert passing == [False] * len(ends)
        return sum(len(probes(*pair)) for pair in ends)


def probes(source: Pod, destination: Pod) -> list[Probe]:
    return [
        Probe(Endpoint(source.namespace, here), there, transport, port)
        for here, there in zip(source.addresses, destination.addresses, strict=True)
        for transport, port in TRANSPORTS
    ]


def gates_name(path: WholePath, pod: Pod) -> bool:
    """Whether a gate of the pod's node names an address of it."""
    maps = [f"{gate}{family}" for gate in ("ingress", "egress") for family in (4, 6)]
    namespace = pod.node.namespace
    held = "".join(command(namespace, "nft", "list", "map", *TABLE, one) for one in maps)
    words = held.replace(",", " ").split()
    return any(str(address) in words for address in pod.addresses)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(network: NetworkKind, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    async with WholePath(tmp_path_factory.mktemp("departed"), network) as path:
        yield path


def policies(server: Pod, number: int) -> dict[str, Spec]:
    blocks = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}} for address in server.addresses]
    gone = f"gone-{number}"
    return {
        gone: {
            **labelled(gone),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [labelled(f"friend-{number}")]}],
            "egress": [{"to": [*blocks, labelled(f"guarded-{number}")]}],
        },
        f"guarded-{number}": {**labelled(f"guarded-{number}"), "ingress": [{"from": [labelled(gone)]}]},
    }


@asynccontextmanager
async def village(path: WholePath) -> AsyncIterator[Village]:
    number = next(NUMBERS)
    nodes = path.laboratory.nodes
    places = {"gone": 0, "friend": 1, "server": 1, "guarded": 1, "near": 0, "far": 1, "plain": 0}
    pods = {}
    for name, node in places.items():
        pods[name] = path.laboratory.add_pod(tuple(nodes.values())[node], f"{name}-{number}")
        path.prober.listen(Listener(pods[name].namespace, name, (TCP_PORT,), (UDP_PORT,)))
        path.tell_pod(pods[name], f"{name}-{number}")
    told = policies(pods["server"], number)
    path.tell_policies(told)
    await path.settled()
    yield Village(path, **pods)
    path.tell_no_policies(told)
    for pod in [one for one in path.laboratory.pods.values() if one.name.endswith(f"-{number}")]:
        path.tell_no_pod(pod)
        path.laboratory.remove_pod(pod)
    await path.settled()


async def test_gates_of_a_pod_that_left_stay_while_it_runs_and_through_a_restart(
    path: WholePath, record_property: Record
) -> None:
    async with village(path) as one, AsyncExitStack() as stack:
        assert await one.closed_pairs()
        assert await one.passes(one.friend, one.gone)
        assert await one.passes(one.gone, one.guarded)
        assert await one.passes(one.gone, one.server)
        denied = [
            probe
            for ends in ((one.far, one.gone), (one.gone, one.far), (one.near, one.gone))
            for probe in probes(*ends)
        ]
        watches = [
            await stack.enter_async_context(path.prober.watch(probe, every_ms=EVERY_MS)) for probe in denied
        ]

        path.tell_no_pod(one.gone)
        await path.settled()
        await path.restart_enforcer(one.gone.node.name)
        await path.settled()
        await asyncio.sleep(LATER)

        seen = [result for watch in watches for result in watch.results]
        leaks = [result for result in seen if result.outcome in ANSWERED]
        record_property("probes at gates of a pod that left the API", len(seen))
        record_property("leaks of a pod that left the API", len(leaks))
        assert not leaks
        assert len(seen) > 10 * len(watches)
        # A block is what it was. Nobody tells of its friends any more, and for others it is nobody.
        assert await one.passes(one.gone, one.server)
        assert not await one.passes(one.friend, one.gone)
        assert not await one.passes(one.gone, one.guarded)
        await one.closed_pairs()


@pytest.mark.whole
async def test_a_pod_that_left_would_be_open_without_its_gates(path: WholePath) -> None:
    async with village(path) as one:
        path.tell_no_pod(one.gone)
        await path.settled()
        # One that works would put right what is done to its tables.
        path.freeze_enforcer(one.gone.node.name)
        try:
            namespace = one.gone.node.namespace
            for gate, address in itertools.product(("ingress", "egress"), one.gone.addresses):
                element = f"{gate}{address.version}", "{", str(address), "}"
                command(namespace, "nft", "delete", "element", *TABLE, *element)
            assert await one.passes(one.far, one.gone)
            assert await one.passes(one.gone, one.far)
        finally:
            path.thaw_enforcer(one.gone.node.name)


async def test_gates_go_when_the_pod_goes_and_a_later_pod_with_the_address_is_open(path: WholePath) -> None:
    async with village(path) as one:
        path.tell_no_pod(one.gone)
        await path.settled()
        assert gates_name(path, one.gone)
        path.laboratory.remove_pod(one.gone)
        later = path.laboratory.add_pod(
            one.gone.node, one.gone.name.replace("gone", "later"), one.gone.addresses
        )
        path.prober.listen(Listener(later.namespace, "later", (TCP_PORT,), (UDP_PORT,)))
        # The API has not been told of it: it is no pod that anybody isolates.
        await until(lambda: not gates_name(path, later))
        assert await one.passes(one.far, later)
        assert await one.passes(later, one.far)


@pytest.mark.whole
async def test_an_address_that_another_pod_has_at_once_is_judged_by_that_pods_policies(
    path: WholePath,
) -> None:
    async with village(path) as one:
        path.tell_no_pod(one.gone)
        path.laboratory.remove_pod(one.gone)
        later = path.laboratory.add_pod(
            one.gone.node, one.gone.name.replace("gone", "later"), one.gone.addresses
        )
        path.prober.listen(Listener(later.namespace, "later", (TCP_PORT,), (UDP_PORT,)))
        path.tell_pod(later, "nobody")
        await path.settled()
        assert await one.passes(one.far, later)
        assert await one.passes(later, one.far)


async def test_a_pod_that_nobody_isolated_is_an_unknown_address_when_it_has_left(path: WholePath) -> None:
    async with village(path) as one:
        path.tell_no_pod(one.plain)
        await path.settled()
        assert not gates_name(path, one.plain)
        assert await one.passes(one.far, one.plain)
        assert await one.passes(one.plain, one.far)
        assert not await one.passes(one.plain, one.guarded)
