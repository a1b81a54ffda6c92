"""Which endpoint a Service's client gets, and what policies make of it: several, one of each port, the client itself, none."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.tests.stage import PODS, cluster, labels, pods, policy, rule
from compilers.model.cluster import Pod
from compilers.model.selector import EVERYTHING
from compilers.model.words import Protocol
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.service_town import (
    NODE_A,
    NODE_B,
    ON_A_BRIDGE,
    Client,
    Door,
    Town,
    service,
)
from policy_controller.testing.kube_proxy import ServicePort, TrafficPolicy
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_A_BRIDGE]

WEB, API, DB, _, SCRAPER = PODS
CLOSED: Final = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
TRIES: Final = 24
"""Connections to two endpoints by chance: that one of them is never chosen happens once in 2**23 runs."""

Seen = Counter[tuple[Outcome, str | None]]


def name_of(town: Town, pod: Pod) -> str:
    return town.stage.pod_at(pod.addresses[0]).name


async def tried(town: Town, client: Client, called: ServicePort, tries: int = TRIES) -> list[Seen]:
    """What became of many connections, and who answered, in each family."""
    first = {call.source: call for call in town.calls(client, called, Door.CLUSTER_IP)}
    probes = [replace(town.probe(call), peer=None) for call in first.values()]
    results = await town.stage.prober.run(probe for probe in probes for _ in range(tries))
    return [
        Counter((one.outcome, one.peer) for one in results[start : start + tries])
        for start in range(0, len(results), tries)
    ]


async def test_a_pod_with_a_twin_reaches_itself_through_their_service_and_not_the_twin(town: Town) -> None:
    twins = service(1, [WEB, API])
    town.serve(twins)
    await town.stage.enforce(cluster())
    for found in await tried(town, WEB, twins):
        assert set(found) == {(Outcome.ACCEPTED, name_of(town, pod)) for pod in (WEB, API)}

    await town.stage.enforce(cluster(CLOSED))

    # Whoever tries again gets to itself in the end; the twin never answers.
    for found in await tried(town, WEB, twins):
        assert {peer for _, peer in found} <= {None, name_of(town, WEB)}
        assert found[Outcome.ACCEPTED, name_of(town, WEB)]


async def test_clients_that_are_kept_to_one_endpoint_are_judged_by_that_one_alone(town: Town) -> None:
    # Kubernetes, sessionAffinity: "Enable client IP based session affinity."
    sticky = service(1, [DB, API], affinity_seconds=10800)
    town.serve(sticky)
    await town.stage.enforce(cluster(policy("shop/api", labels("app=api"), ingress=[])))
    first = await tried(town, SCRAPER, sticky, tries=1)
    later = await tried(town, SCRAPER, sticky)
    for once, often in zip(first, later, strict=True):
        assert set(once) <= {(Outcome.ACCEPTED, name_of(town, DB)), (Outcome.TIMED_OUT, None)}
        assert set(often) == set(once)


async def test_a_named_target_port_is_each_pods_own_number(town: Town) -> None:
    # API, IntOrString targetPort: "If this is a string, it will be looked up as a named port in the target Pod's container
    # ports."
    at = {
        (pod.name, port): service(9, [pod], target=port).endpoints
        for pod in (WEB, API)
        for port in (80, 8080)
    }
    right = replace(service(1, []), endpoints=(*at[WEB.name, 80], *at[API.name, 8080]))
    wrong = replace(service(2, []), endpoints=(*at[WEB.name, 8080], *at[API.name, 80]))
    town.serve(right, wrong)
    state = cluster(
        policy("ops/out", EVERYTHING, egress=[rule([], ["TCP http"])]),
        policy("shop/in", EVERYTHING, ingress=[rule(None, ["TCP http"])]),
    )
    await town.stage.enforce(state)
    for called, outcome in ((right, Outcome.ACCEPTED), (wrong, Outcome.TIMED_OUT)):
        expected = {town.expected(state, call) for call in town.calls(SCRAPER, called, Door.CLUSTER_IP)}
        assert expected == {Verdict.ALLOWED if outcome is Outcome.ACCEPTED else Verdict.DENIED}
        for found in await tried(town, SCRAPER, called, tries=8):
            assert {seen for seen, _ in found} == {outcome}


async def test_names_can_be_looked_up_under_a_policy_that_admits_nothing_else(town: Town) -> None:
    dns = [
        service(number, [DB], protocol, port=53, target=53)
        for number, protocol in enumerate((Protocol.UDP, Protocol.TCP), start=1)
    ]
    # One address, as kube-dns has it.
    dns[1] = replace(dns[1], cluster_ips=dns[0].cluster_ips)
    other_port, other_pod = service(3, [DB], port=53, target=8080), service(4, [API])
    town.serve(*dns, other_port, other_pod)
    state = cluster(
        CLOSED,
        policy("shop/names", EVERYTHING, egress=[rule([pods("app=db")], ["UDP 53", "TCP 53"])]),
        policy("shop/dns", labels("app=db"), ingress=[rule([pods("")], ["UDP 53", "TCP 53"])]),
    )
    await town.stage.enforce(state)
    calls = [
        call
        for client, called in product((WEB, API), (*dns, other_port, other_pod))
        for call in town.calls(client, called, Door.CLUSTER_IP)
        if town.identity(call.backend) != name_of(town, client)
    ]
    assert not await town.disagreements(state, calls)
    allowed = {call.service.name for call in calls if town.expected(state, call) is Verdict.ALLOWED}
    # The policy's port is the one that the DNS pods listen on, not the Service's.
    assert allowed == {"service-1", "service-2"}


PROTOCOLS: Final = tuple(enumerate(Protocol, start=1))


async def test_a_service_without_endpoints_is_refused_by_kube_proxy(
    town: Town, record_property: Record
) -> None:
    # Kubernetes, "Virtual IPs and Service Proxies"; kube-proxy answers with ICMP "port unreachable".
    empty = [service(number, [], protocol, node_port=30000 + number) for number, protocol in PROTOCOLS]
    town.serve(*empty)
    clients: tuple[Client, ...] = (WEB, NODE_A, "outside")
    calls = [
        call
        for client, door, called in product(clients, (Door.CLUSTER_IP, Door.NODE_A), empty)
        # An endpoint that kube-proxy does not have, so that there is a call.
        for call in town.calls(client, replace(called, endpoints=service(9, [DB]).endpoints), door)
    ]
    await town.stage.enforce(cluster())
    results = await town.ask(calls)
    # A process of the node is refused by its own system call.
    own = {Outcome.REFUSED, Outcome.UNREACHABLE}
    wrong = [
        f"{call}: {result.outcome.value}"
        for call, result in zip(calls, results, strict=True)
        if result.outcome not in (own if call.client == NODE_A else {Outcome.REFUSED})
    ]
    assert not wrong, "\n".join(wrong)
    record_property("probes of Services without endpoints, refused", len(calls))

    # Whether a closed pod is refused or hears nothing is decided by who registered its hook first.
    await town.stage.enforce(cluster(CLOSED))
    results = await town.ask(calls)
    assert {result.outcome for result in results} <= own | {Outcome.TIMED_OUT}


async def test_a_local_policy_without_local_endpoints_drops_what_comes_from_elsewhere(town: Town) -> None:
    """kube-proxy drops it: there is no policy, and so no gate."""
    remote = service(1, [API], node_port=30001, external=TrafficPolicy.LOCAL, internal=TrafficPolicy.LOCAL)
    town.serve(remote)
    await town.stage.enforce(cluster())
    rows: list[tuple[Client, Door, Outcome]] = [
        ("outside", Door.NODE_A, Outcome.TIMED_OUT),
        (API, Door.NODE_A, Outcome.TIMED_OUT),
        (NODE_B, Door.NODE_A, Outcome.TIMED_OUT),
        # To its own kube-proxy a node, and a pod on it, does not come from outside.
        (NODE_A, Door.NODE_A, Outcome.ACCEPTED),
        (WEB, Door.NODE_A, Outcome.ACCEPTED),
        (WEB, Door.CLUSTER_IP, Outcome.TIMED_OUT),
        (API, Door.CLUSTER_IP, Outcome.ACCEPTED),
    ]
    calls = [(call, outcome) for client, door, outcome in rows for call in town.calls(client, remote, door)]
    found = await town.ask(call for call, _ in calls)
    wrong = [
        f"{call}: {result.outcome.value}"
        for (call, outcome), result in zip(calls, found, strict=True)
        if result.outcome is not outcome
    ]
    assert not wrong, "\n".join(wrong)
