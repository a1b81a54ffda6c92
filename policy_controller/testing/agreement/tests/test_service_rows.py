"""Service traffic with packets: judged after DNAT and before SNAT, by the source address that arrives.

The rows that quote the API, with expectations of their own; what else Services do is compared with the evaluator in the other
modules of this name.
"""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

import pytest

from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, labels, pods, policy, rule
from compilers.model.cluster import Pod
from compilers.model.policy import NetworkPolicy, Peer
from compilers.model.selector import EVERYTHING
from policy_controller.testing.agreement.tests.service_town import (
    NODE_A,
    ON_EVERY_NETWORK,
    Client,
    Door,
    Town,
    service,
)
from policy_controller.testing.kube_proxy import ServicePort, TrafficPolicy
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_EVERY_NETWORK]

WEB, API, DB = PODS[:3]
CLOSED: Final = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
PORT, BACKEND_PORT = 80, 8080
TO_WEB = service(1, [WEB])
LOCAL = service(2, [DB], node_port=30080, external=TrafficPolicy.LOCAL)
NEAR = service(3, [DB], node_port=30081)
FAR = service(4, [API], node_port=30082)


@pytest.fixture(autouse=True, scope="module")
def services(town: Town) -> None:
    town.serve(TO_WEB, LOCAL, NEAR, FAR)


async def outcomes(
    town: Town,
    policies: Iterable[NetworkPolicy],
    client: Client,
    called: ServicePort,
    door: Door = Door.CLUSTER_IP,
) -> set[Outcome]:
    """What becomes of a connection to a Service in both families; only its backend may answer."""
    await town.stage.enforce(cluster(*policies))
    return {result.outcome for result in await town.ask(town.calls(client, called, door))}


def masqueraded(town: Town, backend: Pod) -> bytes:
    """Source and destination of a packet to a pod of node-a that node-a has masqueraded."""
    return (
        town.stage.laboratory.near_addresses(town.stage.node(NODE_A))[0].packed + backend.addresses[0].packed
    )


async def test_a_pod_reaches_itself_through_a_service(town: Town) -> None:
    # Kubernetes: "a pod cannot block access to itself"; the packet leaves the pod and comes back, rewritten twice.
    stage = town.stage
    with stage.prober.capture(stage.endpoint(WEB.addresses[0]).namespace, "eth0") as capture:
        found = await outcomes(town, [CLOSED], WEB, TO_WEB)
        assert await capture.frame_with(masqueraded(town, WEB), within=1.0), "the packet never left the pod"
    assert found == {Outcome.ACCEPTED}


BACKEND_RULES: list[tuple[str, list[Peer], str, Outcome]] = [
    ("the backend's port", [pods("app=db"), pods("app=api")], f"TCP {BACKEND_PORT}", Outcome.ACCEPTED),
    ("the Service's port", [pods("app=db"), pods("app=api")], f"TCP {PORT}", Outcome.TIMED_OUT),
    ("the Service's address", [block("10.96.0.0/24"), block("fd96::/64")], "TCP", Outcome.TIMED_OUT),
]


@pytest.mark.parametrize(
    ("peers", "ports", "expected"),
    [row[1:] for row in BACKEND_RULES],
    ids=[name for name, *_ in BACKEND_RULES],
)
async def test_egress_to_a_service_is_judged_by_the_backend(
    town: Town, peers: list[Peer], ports: str, expected: Outcome
) -> None:
    # Kubernetes on ipBlock and rewritten addresses: "not defined whether this happens before or after NetworkPolicy
    # processing"; kube-proxy rewrites in prerouting, before our hook.
    out = policy("shop/out", labels("app=web"), egress=[rule(peers, [ports])])
    await town.stage.enforce(cluster(out))
    calls = [call for called in (NEAR, FAR) for call in town.calls(WEB, called, Door.CLUSTER_IP)]
    assert {result.outcome for result in await town.ask(calls)} == {expected}


CLIENT_RULES: list[tuple[str, list[Peer], Outcome]] = [
    ("the client pod", [pods("app=web")], Outcome.ACCEPTED),
    ("another pod", [pods("app=api")], Outcome.TIMED_OUT),
    (
        "the address it is masqueraded as",
        [block("10.244.1.1/32"), block("fd10:244:1::1/128")],
        Outcome.TIMED_OUT,
    ),
]


@pytest.mark.parametrize(
    ("peers", "expected"), [row[1:] for row in CLIENT_RULES], ids=[name for name, *_ in CLIENT_RULES]
)
async def test_ingress_from_a_service_is_judged_by_the_client_before_it_is_masqueraded(
    town: Town, peers: list[Peer], expected: Outcome
) -> None:
    into = policy("shop/in", labels("app=db"), ingress=[rule(peers, [f"TCP {BACKEND_PORT}"])])
    stage = town.stage
    with stage.prober.capture(stage.endpoint(DB.addresses[0]).namespace, "eth0") as capture:
        assert await outcomes(town, [into], WEB, NEAR, Door.NODE_A) == {expected}
        arrived = await capture.frame_with(masqueraded(town, DB), within=0.1)
    assert (arrived is not None) is (expected is Outcome.ACCEPTED)


async def test_ingress_from_a_service_on_another_node_is_judged_by_the_client(town: Town) -> None:
    into = policy("shop/in", labels("app=api"), ingress=[rule([pods("app=web")], [f"TCP {BACKEND_PORT}"])])
    assert await outcomes(town, [into], WEB, FAR) == {Outcome.ACCEPTED}
    assert await outcomes(town, [into], DB, FAR) == {Outcome.TIMED_OUT}


CLIENT, NODE = "the client's address", "the address of the node that was called"
ARRIVES: Final = [
    ("Local", LOCAL, CLIENT),
    ("Cluster, backend on the node that was called", NEAR, CLIENT),
    ("Cluster, backend on another node", FAR, NODE),
]
"""Node port of node-a and the source address that arrives; the other one does not."""


@pytest.mark.parametrize("admitted", [CLIENT, NODE])
async def test_a_node_port_is_judged_by_the_source_address_that_arrives(town: Town, admitted: str) -> None:
    """On the node of the backend our hook is before the masquerade; another node has masqueraded already."""
    sources = {
        CLIENT: OUTSIDE,
        # With which a node comes to pods of other nodes.
        NODE: town.stage.laboratory.far_addresses(town.stage.node(NODE_A)),
    }
    peers = [block(str(ip_network(address))) for address in sources[admitted]]
    await town.stage.enforce(
        cluster(policy("shop/in", EVERYTHING, ingress=[rule(peers, [f"TCP {BACKEND_PORT}"])]))
    )
    rows = [
        (name, call, Outcome.ACCEPTED if arrives == admitted else Outcome.TIMED_OUT)
        for name, called, arrives in ARRIVES
        for call in town.calls("outside", called, Door.NODE_A)
    ]
    found = await town.ask(call for _, call, _ in rows)
    assert [(name, result.outcome) for (name, *_), result in zip(rows, found, strict=True)] == [
        (name, expected) for name, _, expected in rows
    ]
