"""Service traffic with packets: judged after DNAT and before SNAT, by the source address that arrives.

The node rewrites as kube-proxy does in its nftables and iptables modes: DNAT before routing, masquerade after it.
"""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from typing import Final

import pytest
import pytest_asyncio

from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, labels, pods, policy, rule
from compilers.model.cluster import Pod
from compilers.model.policy import NetworkPolicy, Peer
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import command
from policy_controller.testing.probe import Outcome, Probe, Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB = PODS[:3]
CLOSED: Final = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
PORT, BACKEND_PORT = 80, 8080
TO_WEB, TO_DB, TO_API = ("10.96.0.1", "fd96::1"), ("10.96.0.2", "fd96::2"), ("10.96.0.3", "fd96::3")
SERVICES: Final = {TO_WEB: WEB, TO_DB: DB, TO_API: API}
"""The addresses of Services, and the only backend of each; traffic to DB is masqueraded as well."""
LOCAL, NEAR, FAR = 30080, 30081, 30082
NODE_PORTS: Final = {LOCAL: DB, NEAR: DB, FAR: API}
"""Node ports of node-a: LOCAL keeps the client's address (externalTrafficPolicy Local), the others masquerade."""
MASQUERADE: Final = "meta mark set 0x4000"


def _prerouting(index: int, nft: str, node: Address) -> Iterator[str]:
    targets = [(virtual[index], PORT, pod, pod is DB) for virtual, pod in SERVICES.items()]
    targets += [(str(node), port, pod, port != LOCAL) for port, pod in NODE_PORTS.items()]
    for address, port, pod, masquerades in targets:
        backend = pod.addresses[index]
        where = f"[{backend}]" if backend.version == 6 else str(backend)
        mark = MASQUERADE if masquerades else ""
        yield f"{nft} daddr {address} tcp dport {port} {mark} dnat {nft} to {where}:{BACKEND_PORT}"


def proxy(stage: Stage) -> str:
    """The table that kube-proxy would hold on node-a."""
    prerouting: list[str] = []
    postrouting = ["meta mark 0x4000 masquerade"]
    for index, nft in enumerate(("ip", "ip6")):
        prerouting += _prerouting(index, nft, stage.node("node-a").addresses[index])
        # Hairpin: a pod that got a packet from its own address would drop it.
        postrouting.append(
            f"{nft} saddr {WEB.addresses[index]} {nft} daddr {WEB.addresses[index]} masquerade"
        )
    return "\n".join(
        (
            "table inet proxy {",
            "chain prerouting { type nat hook prerouting priority dstnat;",
            *prerouting,
            "}",
            "chain postrouting { type nat hook postrouting priority srcnat;",
            *postrouting,
            "}",
            "}",
        )
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(stage: Stage) -> AsyncIterator[Stage]:
    """The stage with kube-proxy's rules on node-a."""
    namespace = stage.node("node-a").namespace
    command(namespace, "nft", "-f", "-", text=proxy(stage))
    yield stage
    command(namespace, "nft", "delete", "table", "inet", "proxy")


async def outcomes(
    stage: Stage,
    policies: list[NetworkPolicy],
    source: Pod | tuple[str, str],
    to: tuple[str, str],
    backend: Pod,
) -> set[Outcome]:
    """What becomes of a connection to a Service in both families; only its backend may answer."""
    await stage.enforce(cluster(*policies))
    sources = source.addresses if isinstance(source, Pod) else tuple(map(ip_address, source))
    results = await stage.prober.run(
        Probe(
            stage.endpoint(here),
            ip_address(there),
            Transport.TCP,
            PORT,
            peer=stage.pod_at(backend.addresses[index]).name,
        )
        for index, (here, there) in enumerate(zip(sources, to, strict=True))
    )
    return {result.outcome for result in results}


async def test_a_pod_reaches_itself_through_a_service(town: Stage) -> None:
    # Kubernetes: "a pod cannot block access to itself"; the packet leaves the pod and comes back, rewritten twice.
    with town.prober.capture(town.endpoint(WEB.addresses[0]).namespace, "eth0") as capture:
        found = await outcomes(town, [CLOSED], WEB, TO_WEB, WEB)
        masqueraded = town.laboratory.near_addresses(town.node("node-a"))[0].packed + WEB.addresses[0].packed
        assert await capture.frame_with(masqueraded, within=1.0), "the packet never left the pod"
    assert found == {Outcome.ACCEPTED}


BACKEND_RULES: list[tuple[str, list[Peer], str, Outcome]] = [
    ("the backend's port", [pods("app=db"), pods("app=api")], f"TCP {BACKEND_PORT}", Outcome.ACCEPTED),
    ("the Service's port", [pods("app=db"), pods("app=api")], f"TCP {PORT}", Outcome.TIMED_OUT),
    ("the Service's address", [block("10.96.0.0/24"), block("fd96::/64")], "TCP", Outcome.TIMED_OUT),
]


@pytest.mark.parametrize(
    ("peers", "service", "expected"),
    [row[1:] for row in BACKEND_RULES],
    ids=[name for name, *_ in BACKEND_RULES],
)
async def test_egress_to_a_service_is_judged_by_the_backend(
    town: Stage, peers: list[Peer], service: str, expected: Outcome
) -> None:
    # Kubernetes on ipBlock and rewritten addresses: "not defined whether this happens before or after NetworkPolicy
    # processing"; kube-proxy rewrites in prerouting, before our hook.
    out = policy("shop/out", labels("app=web"), egress=[rule(peers, [service])])
    for to, backend in ((TO_DB, DB), (TO_API, API)):
        assert await outcomes(town, [out], WEB, to, backend) == {expected}


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
    town: Stage, peers: list[Peer], expected: Outcome
) -> None:
    into = policy("shop/in", labels("app=db"), ingress=[rule(peers, [f"TCP {BACKEND_PORT}"])])
    with town.prober.capture(town.endpoint(DB.addresses[0]).namespace, "eth0") as capture:
        assert await outcomes(town, [into], WEB, TO_DB, DB) == {expected}
        masqueraded = town.laboratory.near_addresses(town.node("node-a"))[0].packed + DB.addresses[0].packed
        arrived = await capture.frame_with(masqueraded, within=0.1)
    assert (arrived is not None) is (expected is Outcome.ACCEPTED)


async def test_ingress_from_a_service_on_another_node_is_judged_by_the_client(town: Stage) -> None:
    into = policy("shop/in", labels("app=api"), ingress=[rule([pods("app=web")], [f"TCP {BACKEND_PORT}"])])
    assert await outcomes(town, [into], WEB, TO_API, API) == {Outcome.ACCEPTED}
    assert await outcomes(town, [into], DB, TO_API, API) == {Outcome.TIMED_OUT}


CLIENT: Final[list[Peer]] = [block(f"{OUTSIDE[0]}/32"), block(f"{OUTSIDE[1]}/128")]
NODE: Final[list[Peer]] = []
"""Stands for the addresses with which node-a comes to pods of other nodes."""


@pytest.mark.parametrize(
    ("port", "peers", "expected"),
    [
        pytest.param(LOCAL, CLIENT, Outcome.ACCEPTED, id="Local: the client's address arrives"),
        pytest.param(LOCAL, NODE, Outcome.TIMED_OUT, id="Local: not the node's"),
        pytest.param(NEAR, CLIENT, Outcome.ACCEPTED, id="Cluster, backend on the node that was called: the client's"),
        pytest.param(NEAR, NODE, Outcome.TIMED_OUT, id="Cluster, backend on the node that was called: not the node's"),
        pytest.param(FAR, NODE, Outcome.ACCEPTED, id="Cluster, backend on another node: the first node's"),
        pytest.param(FAR, CLIENT, Outcome.TIMED_OUT, id="Cluster, backend on another node: not the client's"),
    ],
)  # fmt: skip
async def test_a_node_port_is_judged_by_the_source_address_that_arrives(
    town: Stage, port: int, peers: list[Peer], expected: Outcome
) -> None:
    """On the node of the backend our hook is before the masquerade; another node has masqueraded already."""
    backend = NODE_PORTS[port]
    far = town.laboratory.far_addresses(town.node("node-a"))
    peers = peers or [block(f"{address}/{address.max_prefixlen}") for address in far]
    into = policy("shop/in", EVERYTHING, ingress=[rule(peers, [f"TCP {BACKEND_PORT}"])])
    await town.enforce(cluster(into))

    results = await town.prober.run(
        Probe(
            town.endpoint(ip_address(here)),
            there,
            Transport.TCP,
            port,
            peer=town.pod_at(backend.addresses[index]).name,
        )
        for index, (here, there) in enumerate(zip(OUTSIDE, town.node("node-a").addresses, strict=True))
    )

    assert {result.outcome for result in results} == {expected}
