"""The way between operator, API server and enforcers, with packets: open when every operator has to be started anew.

The operator's pod comes to a node whose enforcer has no stream, so nobody can tell that enforcer who has the address.
kube-proxy leads to the API server and to the operator, as it does in a cluster.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import pytest
import pytest_asyncio

import nft_templates
from compilers.compile.compiler import compile_nodes
from compilers.evaluate.tests.stage import NODES as CLUSTER_NODES
from compilers.evaluate.tests.stage import PODS, changed, cluster, policy
from compilers.model.cluster import OPERATOR as OPERATORS_ACCOUNT
from compilers.model.cluster import Cluster, Namespace, Pod
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address, Protocol
from compilers.nftables.base import OPERATOR_PORT, Base, BaseSettings, base_tables
from compilers.nftables.render import Tables
from policy_controller.enforcer.gates import UnknownPods
from policy_controller.testing.agreement.packets import Connections, Stage
from policy_controller.testing.agreement.tests.control_path import Moment, tables_at
from policy_controller.testing.agreement.tests.scene import Record, Row, assert_rows, on
from policy_controller.testing.agreement.tests.service_town import (
    HOST_PORT,
    NODE_A,
    NODE_B,
    ON_EVERY_POD_NETWORK,
    SERVICE_NETWORKS,
    Town,
    service,
)
from policy_controller.testing.kube_proxy import ServicePort
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_EVERY_POD_NETWORK]

WEB, API, OPERATOR, FAR_WEB, SCRAPER = PODS
"""OPERATOR is the operator's new pod, on node-a. WEB and API are isolated; FAR_WEB and SCRAPER are not."""
KUBERNETES, OPERATORS, ANOTHER = 1, 2, 3
"""Numbers of Services: the API server's, the operator's and another that leads where the API server's does."""
PORT: Final = OPERATOR_PORT
API_PORT: Final = 443
NODES: Final = (NODE_A, NODE_B)

CLOSED: Final = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
BEFORE: Final = cluster(CLOSED, pods=(pod for pod in PODS if pod is not OPERATOR))
"""What is in force: the operator's new pod is not in it."""
AWAITED: Final = cluster(CLOSED, pods=changed("shop/db", addresses=()))
"""The new pod is bound to its node, and isolated there like any other pod of shop: it is no operator's."""
AFTER: Final = cluster(policy("ops/closed", EVERYTHING, ingress=[], egress=[]))
"""The new pod is known, and nothing isolates it."""

SPACES: Final = (OPERATORS_ACCOUNT.namespace, "kube-system", "shop", "ops")
EVERYWHERE: Final = Cluster.of(
    [Namespace(name, {}) for name in SPACES],
    [
        WEB,
        API,
        FAR_WEB,
        replace(
            OPERATOR, namespace=OPERATORS_ACCOUNT.namespace, name="operator", account=OPERATORS_ACCOUNT.name
        ),
        replace(SCRAPER, namespace="kube-system", name="metrics"),
        # Names cannot be looked up yet: these have not started.
        *(
            Pod("kube-system", f"dns-{name}", f"uid-dns-{name}", {"k8s-app": "kube-dns"}, name)
            for name in NODES
        ),
    ],
    [policy(f"{name}/closed", EVERYTHING, ingress=[], egress=[]) for name in SPACES],
    CLUSTER_NODES,
)
"""A default deny for everything in every namespace."""

STALE: Final = (Moment.LOST, Moment.RESTARTED)
each_stale = pytest.mark.parametrize("moment", STALE, ids=lambda moment: moment.name.lower())
each_family = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
most_families = pytest.mark.parametrize(
    "family", [0, pytest.param(1, marks=pytest.mark.whole)], ids=["IPv4", "IPv6"]
)
"""Where nothing passes, which takes its time to see."""
each_api_server = pytest.mark.parametrize("place", NODES, ids=["same node", "other node"])
OPEN, SHUT = frozenset({Outcome.ACCEPTED}), frozenset({Outcome.TIMED_OUT})


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def listening(stage: Stage) -> None:
    """Every pod answers on the operator's port."""
    for pod in PODS:
        place = stage.pod_at(pod.addresses[0])
        stage.prober.listen(Listener(place.namespace, place.name, (PORT,), (PORT,)))


def cluster_ip(number: int, family: int) -> Address:
    return SERVICE_NETWORKS[family][number]


def base(family: int = 0) -> Base:
    """The base of nodes that know the API server by its Service's address of one family, as a cluster's first is."""
    return base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(api_server=(cluster_ip(KUBERNETES, family), API_PORT)),
    )


async def tables(
    moment: Moment, state: Cluster = BEFORE, family: int = 0, unknown: UnknownPods = UnknownPods.DROP
) -> dict[str, Tables]:
    """What every node holds at that moment."""
    rule_sets = compile_nodes(state)
    return {name: await tables_at(moment, base(family), rule_sets[name], unknown) for name in NODES}


def services(place: str = NODE_B) -> tuple[ServicePort, ...]:
    """The API server is a process of that node; the operator's Service leads to its new pod."""
    return (
        service(KUBERNETES, [place], port=API_PORT, port_name="https"),
        service(KUBERNETES, [place], port=444, port_name="other"),
        service(KUBERNETES, [OPERATOR], Protocol.UDP, port=API_PORT, target=53, port_name="udp"),
        service(OPERATORS, [OPERATOR], port=PORT, target=PORT),
        service(ANOTHER, [place], port=API_PORT),
    )


async def outcomes(town: Town, probes: Iterable[Probe], record: Record) -> frozenset[Outcome]:
    results = await town.stage.prober.run(probes)
    record(on(town.stage, "probes of the control path"), len(results))
    return frozenset(result.outcome for result in results)


def from_pod(town: Town, pod: Pod, there: Address, port: int, transport: Transport = Transport.TCP) -> Probe:
    source = next(one for one in pod.addresses if one.version == there.version)
    return Probe(town.stage.endpoint(source), there, transport, port)


def from_node(
    town: Town, name: str, there: Address, port: int, transport: Transport = Transport.TCP
) -> Probe:
    return Probe(Endpoint(town.stage.node(name).namespace), there, transport, port)


def to_api_server(town: Town, pod: Pod, family: int) -> Probe:
    return from_pod(town, pod, cluster_ip(KUBERNETES, family), API_PORT)


def from_enforcers(town: Town, family: int) -> list[Probe]:
    """Of both nodes, as they find the operator and straight to its pod."""
    ways = (cluster_ip(OPERATORS, family), OPERATOR.addresses[family])
    return [from_node(town, name, there, PORT) for name in NODES for there in ways]


@each_stale
@each_api_server
@each_family
async def test_a_new_operator_and_its_enforcers_find_each_other(
    town: Town, place: str, family: int, moment: Moment, record_property: Record
) -> None:
    await town.stage.hold(await tables(moment, family=family))
    # kube-proxy may well come up after the enforcer.
    town.serve(*services(place))

    probes = [to_api_server(town, OPERATOR, family), *from_enforcers(town, family)]
    assert await outcomes(town, probes, record_property) == OPEN


@pytest.mark.parametrize("moment", [Moment.TOLD, *STALE], ids=lambda moment: moment.name.lower())
async def test_a_default_deny_for_every_namespace_leaves_the_control_path(
    town: Town, moment: Moment, record_property: Record
) -> None:
    await town.stage.hold(await tables(moment, EVERYWHERE))
    town.serve(*services())

    probes = [
        *(to_api_server(town, OPERATOR, family) for family in (0, 1)),
        *(probe for family in (0, 1) for probe in from_enforcers(town, family)),
    ]
    assert await outcomes(town, probes, record_property) == OPEN


async def test_evaluator_and_walk_and_packets_agree_on_a_default_deny_for_every_namespace(
    town: Town, record_property: Record
) -> None:
    own = "policy-controller/operator"
    pods = ("shop/web", "shop/api", "ops/web", "kube-system/metrics")
    rows: list[Row] = [
        *((own, end, "TCP 443", "allowed") for end in ("node-a", "node-b", "outside")),
        *((end, own, f"TCP {PORT}", "allowed") for end in ("node-a", "node-b", "outside")),
        *((own, end, "TCP 443", "denied") for end in pods),
        *((end, own, f"TCP {PORT}", "denied") for end in pods),
        *((end, other, "TCP 443", "denied") for end in pods for other in pods if end != other),
        *((end, "outside", "UDP 53", "denied") for end in pods),
        *(("outside", end, "TCP 443", "denied") for end in pods),
    ]
    count = await assert_rows(town.stage, EVERYWHERE, rows)
    record_property(on(town.stage, "probes of the control path"), count)


@most_families
async def test_an_unknown_pod_gets_nowhere_else_and_nobody_else_to_it(
    town: Town, family: int, record_property: Record
) -> None:
    await town.stage.hold(await tables(Moment.LOST, family=family))
    town.serve(*services())
    new = OPERATOR.addresses[family]

    outward = [
        from_pod(town, OPERATOR, cluster_ip(KUBERNETES, family), 444),
        from_pod(town, OPERATOR, cluster_ip(KUBERNETES, family), API_PORT, Transport.UDP),
        from_pod(town, OPERATOR, cluster_ip(ANOTHER, family), API_PORT),
        # Where the API server's Service leads, but not by way of it.
        *(from_pod(town, OPERATOR, town.stage.node(name).addresses[family], HOST_PORT) for name in NODES),
        *(from_pod(town, OPERATOR, pod.addresses[family], PORT) for pod in (SCRAPER, FAR_WEB)),
    ]
    inward = [
        # Pods of the same node are no enforcers.
        from_pod(town, SCRAPER, new, PORT),
        from_pod(town, SCRAPER, cluster_ip(OPERATORS, family), PORT),
        from_pod(town, FAR_WEB, new, 80),
        from_pod(town, FAR_WEB, new, PORT, Transport.UDP),
        from_node(town, NODE_B, new, 80),
    ]
    assert await outcomes(town, [*outward, *inward], record_property) == SHUT
    # A pod of another node cannot be told from an enforcer of that node.
    assert await outcomes(town, [from_pod(town, FAR_WEB, new, PORT)], record_property) == OPEN


async def test_known_pods_are_judged_as_before(town: Town, record_property: Record) -> None:
    await town.stage.hold(await tables(Moment.RESTARTED))
    town.serve(*services())

    isolated = [to_api_server(town, pod, family) for pod in (WEB, API) for family in (0, 1)]
    isolated += [from_node(town, NODE_B, there, PORT) for there in WEB.addresses]
    assert await outcomes(town, isolated, record_property) == SHUT
    others = [to_api_server(town, pod, family) for pod in (SCRAPER, FAR_WEB) for family in (0, 1)]
    others += [from_node(town, NODE_B, there, PORT) for there in SCRAPER.addresses]
    assert await outcomes(town, others, record_property) == OPEN


async def test_with_an_operator_there_is_no_way_for_unknown_pods(town: Town, record_property: Record) -> None:
    """It says who a new pod is, and which are awaited."""
    await town.stage.hold(await tables(Moment.TOLD, AWAITED))
    town.serve(*services())

    probes = [to_api_server(town, OPERATOR, 0), from_node(town, NODE_B, OPERATOR.addresses[0], PORT)]
    assert await outcomes(town, probes, record_property) == SHUT


@pytest.mark.parametrize(
    ("moment", "unknown"),
    [
        (Moment.NEVER_TOLD, UnknownPods.DROP),
        (Moment.TOLD, UnknownPods.DROP),
        (Moment.LOST, UnknownPods.ALLOW),
        (Moment.RESTARTED, UnknownPods.ALLOW),
    ],
    ids=["never told", "told, nobody is awaited", "lost, allow", "restarted, allow"],
)
async def test_where_unknown_pods_are_open_so_is_a_new_operator(
    town: Town, moment: Moment, unknown: UnknownPods, record_property: Record
) -> None:
    await town.stage.hold(await tables(moment, unknown=unknown))
    town.serve(*services())

    probes = [
        *(to_api_server(town, OPERATOR, family) for family in (0, 1)),
        *(probe for family in (0, 1) for probe in from_enforcers(town, family)),
        from_pod(town, OPERATOR, SCRAPER.addresses[0], 80),
    ]
    assert await outcomes(town, probes, record_property) == OPEN


async def test_the_way_has_no_gap_from_one_moment_to_the_next(town: Town, record_property: Record) -> None:
    """As an operator is replaced: told of by the one before, which goes; found by the enforcer; told by itself."""
    town.serve(*services())
    steps = [
        await tables(moment, state)
        for moment, state in (
            (Moment.TOLD, BEFORE),
            (Moment.TOLD, AFTER),
            (Moment.LOST, AFTER),
            (Moment.RESTARTED, AFTER),
            (Moment.TOLD, AFTER),
            # Nobody was there to tell of it.
            (Moment.TOLD, BEFORE),
            (Moment.LOST, BEFORE),
            (Moment.RESTARTED, BEFORE),
            (Moment.TOLD, AFTER),
        )
    ]
    await town.stage.hold(steps[0])
    probes = [to_api_server(town, OPERATOR, 0), *from_enforcers(town, 0)]
    over = asyncio.Event()

    async def keep_asking() -> set[Outcome]:
        seen: set[Outcome] = set()
        while not over.is_set():
            seen |= await outcomes(town, probes, record_property)
        return seen

    asking = asyncio.create_task(keep_asking())
    for step in (*steps, *reversed(steps)):
        await town.stage.hold(step, Connections.KEEP)
    over.set()
    assert await asking == OPEN
