"""kube-proxy's rules and ours side by side: either is rewritten while the other works, and either may have come first."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, product
from typing import Final

import pytest

from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, labels, pods, policy, rule
from compilers.model.cluster import Cluster, Pod
from compilers.model.selector import EVERYTHING
from compilers.nftables.render import render_empty
from compilers.nftables.transaction import DeleteTable, Transaction, install
from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.testing.agreement.packets import Connections
from policy_controller.testing.agreement.tests.scene import BASE, Record
from policy_controller.testing.agreement.tests.service_town import (
    NODE_A,
    NODE_B,
    ON_A_BRIDGE,
    Client,
    Door,
    Town,
    service,
)
from policy_controller.testing.extent import Extent
from policy_controller.testing.kube_proxy import Endpoint, ServicePort, TrafficPolicy
from policy_controller.testing.probe import (
    ContinuousProbing,
    Expected,
    Listener,
    Outcome,
    Pair,
    Probe,
    Transport,
)

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_A_BRIDGE]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
LOCAL: Final = TrafficPolicy.LOCAL
WATCHED: Final = 7001
"""A port where nobody of the stage answers: those who answer while probing goes on are in its own process."""
SECONDS: Final = 1.0, 10.0
"""How long rules are rewritten, in the short and the whole extent."""

NEAR = service(1, [DB], target=WATCHED, node_port=30001, external=LOCAL)
FAR = service(2, [API], target=WATCHED, node_port=30002)
OTHERS = (service(3, [FAR_WEB], node_port=30003), service(4, []))
"""Services that come and go meanwhile."""
ALLOWED: Final[tuple[tuple[Client, ServicePort, Door], ...]] = (
    (WEB, NEAR, Door.CLUSTER_IP),
    (WEB, FAR, Door.CLUSTER_IP),
    (WEB, NEAR, Door.NODE_A),
    ("outside", NEAR, Door.NODE_A),
)
DENIED: Final[tuple[tuple[Client, ServicePort, Door], ...]] = (
    (SCRAPER, NEAR, Door.CLUSTER_IP),
    (API, NEAR, Door.CLUSTER_IP),
    (SCRAPER, FAR, Door.CLUSTER_IP),
    # With the address of the node that was called.
    ("outside", FAR, Door.NODE_A),
)


def state(port: int = WATCHED, *more: str) -> Cluster:
    """shop is closed but for web and the outside on a port; other policies that `more` name change nothing for these."""
    from_outside = [block(f"{OUTSIDE[0]}/32"), block(f"{OUTSIDE[1]}/128")]
    return cluster(
        policy("shop/closed", EVERYTHING, ingress=[], egress=[]),
        policy("shop/out", labels("app=web"), egress=[rule([pods("")], [f"TCP {port}"])]),
        policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web"), *from_outside], [f"TCP {port}"])]),
        *(policy(f"shop/{name}", EVERYTHING, ingress=[rule([block("192.0.2.0/24")])]) for name in more),
    )


def pairs(town: Town) -> Iterator[Pair]:
    for expected, rows in ((Expected.ALLOWED, ALLOWED), (Expected.DENIED, DENIED)):
        for client, called, door in rows:
            yield from (Pair(town.probe(call), expected) for call in town.calls(client, called, door))
        direct = (
            product((WEB,), (DB, API)) if expected is Expected.ALLOWED else product((SCRAPER,), (DB, API))
        )
        for source, destination in direct:
            yield from (Pair(probe, expected) for probe in straight(town, source, destination))


def straight(town: Town, source: Pod, destination: Pod) -> Iterator[Probe]:
    for here, there in zip(source.addresses, destination.addresses, strict=True):
        yield Probe(town.stage.endpoint(here), there, Transport.TCP, WATCHED, peer=name_of(town, destination))


def name_of(town: Town, pod: Pod) -> str:
    return town.stage.pod_at(pod.addresses[0]).name


def listeners(town: Town) -> list[Listener]:
    return [
        Listener(there.namespace, there.name, tcp=(WATCHED,))
        for there in (town.stage.pod_at(pod.addresses[0]) for pod in (DB, API))
    ]


@pytest.mark.timeout(240)
async def test_nothing_leaks_and_nothing_is_refused_while_either_rewrites_its_rules(
    town: Town, extent: Extent, record_property: Record
) -> None:
    town.serve(NEAR, FAR)
    await town.stage.enforce(state())
    syncs = changes = 0
    with ContinuousProbing(listeners(town), pairs(town)) as probing:
        deadline = time.monotonic() + extent.choose(*SECONDS)
        for more in cycle(((), OTHERS)):
            await asyncio.to_thread(town.serve, NEAR, FAR, *more)
            syncs += len(town.proxies)
            await town.stage.enforce(state(WATCHED, *(["more"] if more else [])), Connections.KEEP)
            changes += 1
            if time.monotonic() > deadline:
                break
        tally = await asyncio.to_thread(probing.stop)

    # Our gates drop and never refuse. A packet that is under way while kube-proxy replaces its table may find no Service in the
    # map any more, and is refused by kube-proxy: once in some hundred thousand, and not ours.
    ours = [line for line in tally.told if ": refused (" not in line]
    assert not tally.leaks, tally.told
    assert not ours
    assert tally.refusals == len(tally.told), "more than are told one by one"
    for name, number in (
        ("full syncs of kube-proxy under probing", syncs),
        ("changes of our tables beside kube-proxy under probing", changes),
        ("probes while kube-proxy rewrote its rules", tally.probes + tally.heartbeats),
        ("leaks while kube-proxy rewrote its rules", tally.leaks),
        ("refusals by gates while kube-proxy rewrote its rules", len(ours)),
        ("refusals by kube-proxy itself while it rewrote its rules", tally.refusals),
    ):
        record_property(name, number)


def register_ours_anew(town: Town) -> None:
    """Remove our tables and make them again, empty: what registers last at a priority sees packets first."""
    for name in (NODE_A, NODE_B):
        empty = render_empty(BASE)
        anew = [
            Transaction((DeleteTable(table.identity), *install(table).commands)) for table in empty.each()
        ]
        town.stage.kernels.run(town.stage.node(name).namespace, anew)
        town.stage._held[name] = empty


async def test_gates_hold_whoever_of_both_registered_first(town: Town) -> None:
    """Both are in the hook `forward` at priority 0. What differs is who speaks first where both would refuse."""
    rows = [*ALLOWED, *DENIED, (WEB, OTHERS[0], Door.CLUSTER_IP), (SCRAPER, OTHERS[0], Door.NODE_B)]
    empty = town.calls(WEB, replace(OTHERS[1], endpoints=NEAR.endpoints), Door.CLUSTER_IP)
    nobody = [replace(town.probe(call), peer=None) for call in empty]
    found = []
    for arrange in (None, register_ours_anew):
        if arrange is not None:
            arrange(town)
        town.serve(*(replace(one, endpoints=at(8080, one)) for one in (NEAR, FAR)), *OTHERS)
        await town.stage.enforce(state(8080))
        calls = [
            call
            for client, called, door in rows
            for call in town.calls(client, replace(called, endpoints=at(8080, called)), door)
        ]
        assert not await town.disagreements(state(8080), calls)
        found.append({result.outcome for result in await town.stage.prober.run(nobody)})
    assert found == [{Outcome.REFUSED}, {Outcome.TIMED_OUT}]


def at(port: int, called: ServicePort) -> tuple[Endpoint, ...]:
    """The endpoints of a Service, on another port."""
    return tuple(replace(endpoint, port=port) for endpoint in called.endpoints)


async def test_a_connection_through_a_service_goes_on_until_an_address_of_it_ends(town: Town) -> None:
    called = service(1, [API])
    town.serve(called)
    await town.stage.enforce(state(8080))
    (call, *_) = town.calls(WEB, called, Door.CLUSTER_IP)
    with await town.stage.prober.converse(town.probe(call).source, call.called, call.port) as conversation:

        async def outcome() -> Outcome:
            return (await conversation.exchange()).outcome

        # The Service has gone, and the policy that admitted it.
        town.serve()
        await town.stage.enforce(
            cluster(policy("shop/closed", EVERYTHING, ingress=[], egress=[])), Connections.KEEP
        )
        assert await outcome() is Outcome.ACCEPTED
        town.serve(called)
        assert await outcome() is Outcome.ACCEPTED

        # The client knows the Service's address alone; the entry holds the backend's.
        for name in (NODE_A, NODE_B):
            ended = town.stage.laboratory.run_in(
                town.stage.node(name).namespace, lambda: Conntrack().end(frozenset(API.addresses))
            )
            assert ended == 1
        assert await outcome() is Outcome.TIMED_OUT
