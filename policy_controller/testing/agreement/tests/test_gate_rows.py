"""Both gates, nodes and the pod itself, with packets: who may open a connection, and what is never dropped."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, labels, pods, policy, rule
from compilers.evaluate.tests.test_traffic_rows import GATES
from compilers.model.cluster import Cluster
from compilers.model.policy import Peer
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address, Direction
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import (
    FAR,
    PORTS,
    Record,
    Row,
    assert_rows,
    command,
    everybody,
    on,
    subject,
)
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import Endpoint, Outcome, Probe, Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

CLOSED = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
EACH = ("TCP 80", "UDP 53", "SCTP 80", "ICMP")
WEB, API, DB, _, SCRAPER = PODS


def exactly(addresses: Iterable[Address]) -> list[Peer]:
    """Blocks of one address each."""
    return [block(f"{address}/{address.max_prefixlen}") for address in addresses]


async def test_egress_of_the_source_and_ingress_of_the_destination_must_both_allow(
    stage: Stage, record_property: Record
) -> None:
    # Kubernetes: "both the egress policy on the source pod and the ingress policy on the destination pod need to allow
    # the connection. If either side does not allow the connection, it will not happen."
    policies, rows = [], list[Row]()
    for number, (egress, ingress, verdict, _) in enumerate(GATES):
        near, far = number + len(GATES), number + FAR.start
        policies.append(policy(f"shop/from-{number}", labels(f"subject={number}"), egress=egress))  # type: ignore[arg-type] # a table of rules
        policies += [
            policy(f"shop/to-{there}", labels(f"subject={there}"), ingress=ingress)  # type: ignore[arg-type] # a table of rules
            for there in (near, far)
        ]
        for there in (near, far):
            rows += [(subject(number), subject(there), service, verdict.value) for service in EACH]
    assert {verdict for *_, verdict in rows} == {verdict.value for verdict in Verdict}

    record_property(
        on(stage, "rows of gates with packets"), await assert_rows(stage, everybody(*policies), rows)
    )


CASES: dict[str, tuple[Cluster, list[Row]]] = {
    # Kubernetes: "a pod cannot block access to itself".
    "a pod reaches itself": (
        cluster(CLOSED),
        [("shop/db", "shop/db", service, "allowed") for service in EACH],
    ),
    # API, ingress: "Traffic is allowed to a pod [...] if the traffic source is the pod's local node".
    "a node reaches its own pods, and no other node does": (
        cluster(CLOSED),
        [
            *(("node-a", "shop/db", service, "allowed") for service in EACH),
            *(("node-b", "shop/db", service, "denied") for service in EACH),
            ("node-b", "shop/api", "TCP 80", "allowed"),
            ("node-a", "shop/api", "TCP 80", "denied"),
        ],
    ),
    "a pod to its own node and to another is judged by its egress policies": (
        cluster(
            CLOSED,
            policy(
                "shop/out",
                labels("app=db"),
                egress=[rule([block("172.31.0.0/24"), block("fd31::/64")], ["TCP 10250"])],
            ),
        ),
        [
            *(("shop/db", node, "TCP 10250", "allowed") for node in ("node-a", "node-b")),
            *(("shop/db", node, service, "denied") for node in ("node-a", "node-b") for service in EACH),
            ("ops/scraper", "node-a", "TCP 80", "allowed"),
        ],
    ),
    # Kubernetes: traffic of nodes and hostNetwork pods is known by the node's address alone.
    "another node is let in by a block, and by no selector": (
        cluster(
            policy("shop/block", labels("app=db"), ingress=[rule([block("172.31.0.12/32"), block("fd31::c/128")])]),
            policy("shop/pods", labels("app=web"), ingress=[rule([pods("")])]),
        ),
        [
            *(("node-b", "shop/db", service, "allowed") for service in EACH),
            *(("node-b", "shop/web", service, "denied") for service in EACH),
        ],
    ),
    # API, ports: "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)".
    "ICMP passes only a rule without ports": (
        cluster(
            policy("shop/any", labels("app=db"), ingress=[rule(None, None)], egress=[rule(None, [])]),
            policy("shop/ports", labels("app=web"), ingress=[rule(None, ["TCP", "UDP", "SCTP"])]),
        ),
        [
            ("ops/web", "shop/db", "ICMP", "allowed"),
            ("shop/db", "ops/web", "ICMP", "allowed"),
            ("ops/web", "shop/web", "ICMP", "denied"),
            ("ops/scraper", "shop/web", "ICMP", "denied"),
            ("ops/web", "shop/web", "SCTP 80", "allowed"),
        ],
    ),
    # Kubernetes: a pod is isolated when "there is any NetworkPolicy that both selects the pod" and names the direction.
    "an SCTP rule isolates for every protocol and allows SCTP only": (
        cluster(policy("shop/sctp", labels("app=db"), ingress=[rule(None, ["SCTP 80"])])),
        [
            ("ops/web", "shop/db", "SCTP 80", "allowed"),
            *(("ops/web", "shop/db", one, "denied") for one in ("SCTP 81", "TCP 80", "UDP 80", "ICMP")),
            ("ops/scraper", "shop/db", "TCP 80", "denied"),
        ],
    ),
    # Kubernetes says "Network policies do not conflict; they are additive."
    "what several policies admit adds up": (
        cluster(
            policy("shop/a", labels("app=db"), ingress=[rule([pods("app=web")], ["TCP 80"])]),
            policy("shop/b", EVERYTHING, ingress=[]),
            policy("shop/c", labels("app=db"), ingress=[rule([pods("app=api")], ["TCP 81"])]),
        ),
        [
            ("shop/web", "shop/db", "TCP 80", "allowed"),
            ("shop/web", "shop/db", "TCP 81", "denied"),
            ("shop/api", "shop/db", "TCP 80", "denied"),
            ("shop/api", "shop/db", "TCP 81", "allowed"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "rows"), CASES.values(), ids=CASES.keys())
async def test_packets_and_walk_and_evaluator_agree_that(
    stage: Stage, state: Cluster, rows: list[Row], record_property: Record
) -> None:
    record_property(on(stage, "rows of gates with packets"), await assert_rows(stage, state, rows))


async def test_kubelet_probes_reach_a_closed_pod_from_the_address_that_its_node_has_towards_it(
    stage: Stage,
) -> None:
    # API, ingress: "if the traffic source is the pod's local node": the kernel picks the address, on a bridge the gateway's.
    await stage.enforce(cluster(CLOSED))
    node = Endpoint(stage.node("node-a").namespace)

    results = await stage.prober.run(
        Probe(node, address, transport, port, peer=stage.pod_at(address).name)
        for address in DB.addresses
        for transport, port in ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.ICMP, None))
    )

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


async def test_a_pod_to_the_address_that_its_node_has_towards_it_is_judged_by_egress(stage: Stage) -> None:
    near = stage.laboratory.near_addresses(stage.node("node-a"))
    by_block = rule(exactly(near), ["TCP 80"])
    await stage.enforce(cluster(CLOSED, policy("shop/out", labels("app=web"), egress=[by_block])))

    def probes(source: int) -> list[Probe]:
        ends = zip(PODS[source].addresses, near, strict=True)
        return [Probe(stage.endpoint(here), there, Transport.TCP, 80) for here, there in ends]

    admitted, closed, open_ = [await stage.prober.run(probes(source)) for source in (0, 2, 4)]

    assert {result.outcome for result in admitted} == {Outcome.ACCEPTED}
    assert {result.outcome for result in closed} == {Outcome.TIMED_OUT}
    assert {result.outcome for result in open_} == {Outcome.ACCEPTED}


async def test_every_address_of_a_node_is_judged_by_egress(stage: Stage) -> None:
    """Its own node's and another's: of the underlay, of a bridge, of a tunnel's device."""
    own, other = stage.node("node-a"), stage.node("node-b")
    near, far = stage.laboratory.near_addresses, stage.laboratory.far_addresses
    addresses = {*own.addresses, *near(own), *far(own), *other.addresses, *far(other)}
    if stage.network is NetworkKind.VXLAN:
        # To a neighbour the kernel answers for IPv6 addresses of the same device alone (RFC 4861, 7.2.3).
        addresses.remove(own.pods_ipv6.network_address)
    there_all = sorted(addresses, key=str)
    by_block = rule(exactly(there_all), ["TCP 80"])
    await stage.enforce(cluster(CLOSED, policy("shop/out", labels("app=web"), egress=[by_block])))

    for source, outcome in ((WEB, Outcome.ACCEPTED), (DB, Outcome.TIMED_OUT), (SCRAPER, Outcome.ACCEPTED)):
        results = await stage.prober.run(
            Probe(stage.endpoint(source.addresses[there.version == 6]), there, Transport.TCP, 80)
            for there in there_all
        )
        found = {str(there): result.outcome for there, result in zip(there_all, results, strict=True)}
        assert found == dict.fromkeys(map(str, there_all), outcome)


async def test_another_node_is_known_by_the_address_that_it_has_on_the_way(stage: Stage) -> None:
    """Nobody says from which address: the kernel takes that of the device that leads there, with VXLAN the tunnel's."""
    other = stage.node("node-b")
    arriving = stage.laboratory.far_addresses(other)

    async def outcomes(addresses: Iterable[Address]) -> set[Outcome]:
        await stage.enforce(cluster(policy("shop/in", labels("app=db"), ingress=[rule(exactly(addresses))])))
        results = await stage.prober.run(
            Probe(Endpoint(other.namespace), there, Transport.TCP, 80) for there in DB.addresses
        )
        return {result.outcome for result in results}

    assert await outcomes(arriving) == {Outcome.ACCEPTED}
    others = {*other.addresses, *other.gateways, *stage.node("node-a").addresses} - set(arriving)
    assert await outcomes(others) == {Outcome.TIMED_OUT}
    assert (set(arriving) == set(other.addresses)) is (stage.network is not NetworkKind.VXLAN)


async def test_neighbour_discovery_is_never_dropped(stage: Stage) -> None:
    # RFC 4861: without it no IPv6 packet finds its next hop. Nothing but one port is open in both directions.
    ends = (WEB, DB), (WEB, API)
    opened = [
        policy("shop/out", labels("app=web"), egress=[rule([pods("")], ["TCP 80"])]),
        policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web")], ["TCP 80"])]),
    ]
    await stage.hold(stage.tables(cluster(CLOSED, *opened), frozenset(Direction)))
    places = {stage.endpoint(address).namespace for pod in (WEB, DB, API) for address in pod.addresses}
    for namespace in (*places, *(node.namespace for node in stage.laboratory.nodes.values())):
        command(namespace, "ip", "-6", "neigh", "flush", "all")
        assert "REACHABLE" not in command(namespace, "ip", "-6", "neigh", "show")

    results = await stage.prober.run(
        Probe(stage.endpoint(here), there, transport, port)
        for source, destination in ends
        for here, there in zip(source.addresses, destination.addresses, strict=True)
        if isinstance(there, IPv6Address)
        for transport, port in ((Transport.TCP, 80), (Transport.TCP, 81))
    )

    assert [result.outcome for result in results] == [Outcome.ACCEPTED, Outcome.TIMED_OUT] * len(ends)


async def test_dhcp_of_the_node_is_never_dropped(stage: Stage) -> None:
    # RFC 2131, RFC 8415: a client hears on ports 68 and 546. Only what comes from pods is judged on the way to a node.
    await stage.hold(stage.tables(cluster(CLOSED), frozenset(Direction)))
    assert 68 in PORTS

    results = await stage.prober.run(
        Probe(stage.endpoint(server), client, Transport.UDP, 68, source_port=67)
        for server, client in zip(map(ip_address, OUTSIDE), stage.node("node-a").addresses, strict=True)
    )

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
