"""With which source address a connection to a Service meets the gate of its backend, on every way it can take.

Each backend admits each address that could arrive on a port of its own, so the ports that answer name the source.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Final

import pytest

from compilers.evaluate.decision import Outcome as Gate
from compilers.evaluate.judge import judge
from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, policy, rule
from compilers.model.cluster import Pod
from compilers.model.policy import NetworkPolicy
from compilers.model.selector import LabelSelector
from compilers.model.words import Address
from policy_controller.testing.agreement.tests.scene import PORTS, Record, command
from policy_controller.testing.agreement.tests.service_town import (
    EXTERNAL_IPS,
    NODE_A,
    NODE_B,
    ON_EVERY_NETWORK,
    Client,
    Door,
    Town,
    service,
)
from policy_controller.testing.kube_proxy import ServicePort, TrafficPolicy
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_EVERY_NETWORK]

WEB, API, DB, FAR_WEB, _ = PODS
BACKENDS: Final = (DB, FAR_WEB)
"""One on node-a and one on node-b, each alone in what its namespace's policy selects."""
CLIENTS: Final[tuple[Client, ...]] = (WEB, API, NODE_A, NODE_B, "outside")
FIRST_NODE_PORT: Final = 30000


def candidates(town: Town) -> Mapping[tuple[Address, ...], int]:
    """Every pair of addresses that may arrive, each with the port on which backends admit it."""
    laboratory, nodes = town.stage.laboratory, [town.stage.node(name) for name in (NODE_A, NODE_B)]
    found = [
        tuple(map(ip_address, OUTSIDE)),
        *(pod.addresses for pod in (WEB, API)),
        *(node.addresses for node in nodes),
        *(laboratory.far_addresses(node) for node in nodes),
        *(laboratory.near_addresses(node) for node in nodes),
    ]
    return dict(zip(dict.fromkeys(found), PORTS, strict=False))


def admitting(name: str, backend: Pod, ports: Mapping[tuple[Address, ...], int]) -> NetworkPolicy:
    """The policy of a backend: each candidate on its port."""
    rules = [
        rule([block(str(ip_network(address))) for address in addresses], [f"TCP {port}"])
        for addresses, port in ports.items()
    ]
    selector = LabelSelector(tuple(sorted(backend.labels.items())))
    return policy(f"{backend.namespace}/{name}", selector, ingress=rules)


def services(ports: Mapping[tuple[Address, ...], int]) -> Iterator[ServicePort]:
    """A Service for each external policy, backend and port."""
    for number, (external, backend, target) in enumerate(
        product(TrafficPolicy, BACKENDS, ports.values()), start=1
    ):
        yield service(
            number,
            [backend],
            port=number,
            target=target,
            node_port=FIRST_NODE_PORT + number,
            external=external,
            external_ips=EXTERNAL_IPS,
        )


async def test_the_source_that_arrives_is_the_one_that_the_evaluator_is_given(
    town: Town, record_property: Record
) -> None:
    ports = candidates(town)
    state = cluster(*(admitting("sources", backend, ports) for backend in BACKENDS))
    known = tuple(services(ports))
    town.serve(*known)
    await town.stage.enforce(state)
    calls = [
        call
        for client, called, door in product(CLIENTS, known, Door)
        for call in town.calls(client, called, door)
        if not town.is_dropped(call)
    ]

    results = await town.ask(calls)

    wrong = [
        f"{call} {call.backend.port}: {result.outcome.value} {result.peer}"
        for call, result in zip(calls, results, strict=True)
        if result.outcome not in town.outcomes(state, call)
    ]
    assert not wrong, "\n".join(wrong)
    admitted: dict[tuple[object, ...], set[int]] = defaultdict(set)
    own_node: set[tuple[object, ...]] = set()
    for call, result in zip(calls, results, strict=True):
        way = (str(call.client), call.door, call.service.external, call.backend.address)
        admitted[way] |= {call.backend.port} if result.outcome is Outcome.ACCEPTED else set()
        if judge(state, town.rewritten(state, call).arrives).ingress.outcome is Gate.OWN_NODE:
            own_node.add(way)
    # One source each, but for what a pod's own node sends: that is admitted whatever its address.
    assert {way for way, found in admitted.items() if len(found) != 1} == own_node
    record_property(f"ways to a Service, source == evaluator ({town.mode.value})", len(admitted))
    record_property("probes of Services, packets == evaluator", len(calls))


HIDING: Final = """
table inet hiding {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
    ip6 saddr fd10:244::/32 ip6 daddr != fd10:244::/32 masquerade
  }
}
"""
"""As Flannel's --ip-masq has it: what a pod sends to anything but a pod, a node's own address too, has its node's address."""


async def test_a_pod_that_its_node_hides_comes_to_another_nodes_port_with_the_nodes_address(
    town: Town,
) -> None:
    by_client = service(1, [DB], target=80, node_port=30001, external=TrafficPolicy.LOCAL)
    by_node = service(2, [DB], target=8080, node_port=30002, external=TrafficPolicy.LOCAL)
    town.serve(by_client, by_node)
    node = town.stage.node(NODE_B)
    await town.stage.enforce(cluster(admitting("hidden", DB, {API.addresses: 80, node.addresses: 8080})))
    command(node.namespace, "nft", "-f", "-", text=HIDING)
    try:
        calls = [call for one in (by_client, by_node) for call in town.calls(API, one, Door.NODE_A)]
        found = {
            (call.service, result.outcome) for call, result in zip(calls, await town.ask(calls), strict=True)
        }
    finally:
        command(node.namespace, "nft", "delete", "table", "inet", "hiding")
    assert found == {(by_client, Outcome.TIMED_OUT), (by_node, Outcome.ACCEPTED)}
