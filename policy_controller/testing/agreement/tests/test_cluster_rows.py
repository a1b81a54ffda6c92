"""Who is subject and who is a member, with packets: one cluster state a row, each verdict three ways."""

from dataclasses import replace

import pytest

from compilers.evaluate.tests.stage import (
    HTTP,
    NODES,
    PODS,
    block,
    changed,
    cluster,
    labels,
    pod,
    pods,
    policy,
    rule,
    spaces,
)
from compilers.model.cluster import Cluster, Ending, Namespace, Phase, PodNetwork, ServiceAccount
from compilers.model.faults import Fault
from compilers.model.policy import NetworkPolicy, Side
from compilers.model.port import NamedPort
from compilers.model.selector import EVERYTHING
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import Record, Row, assert_rows, on

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

FROM_WEB = policy("shop/from-web", labels("app=db"), ingress=[rule([pods("app=web")])])
CLOSED = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
UNREADABLE = Side(faults=(Fault(CLOSED.ref, ("spec", "podSelector"), "is not readable"),))
WEB = str(PODS[0].addresses[0])
RELABELLED = Cluster.of(
    [Namespace("shop", {}), Namespace("ops", {"team": "new"})],
    PODS,
    [policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops")])])],
    NODES,
)
HOSTED = changed("shop/web", network=PodNetwork.HOST, addresses=NODES[0].addresses)
OLD = replace(PODS[0], ending=Ending.TERMINATING, created="2024-01-01T00:00:00Z")
NEW = replace(pod("ops/successor", {"app": "other"}, "node-a", 11, [HTTP]), created="2024-01-02T00:00:00Z")


def operated(*policies: NetworkPolicy) -> Cluster:
    """The stage, where shop/web runs as the operator."""
    return replace(
        cluster(*policies, pods=changed("shop/web", account="steward")),
        operator=ServiceAccount("shop", "steward"),
    )


CASES: dict[str, tuple[Cluster, list[Row]]] = {
    # API, podSelector: "An empty podSelector matches all pods in this namespace."
    "an empty podSelector selects every pod of the namespace": (
        cluster(policy("shop/p", EVERYTHING, ingress=[])),
        [
            ("ops/scraper", "shop/web", "TCP 80", "denied"),
            ("ops/scraper", "shop/api", "UDP 53", "denied"),
            ("ops/scraper", "ops/web", "TCP 80", "allowed"),
        ],
    ),
    # API, ingress: "If this field is empty then this NetworkPolicy does not allow any traffic".
    "no rules admit nothing and the empty rule admits everything": (
        cluster(
            policy("shop/none", labels("app=db"), ingress=[], egress=[]),
            policy("shop/all", labels("app=web"), ingress=[rule()], egress=[rule()]),
        ),
        [
            ("outside", "shop/db", "TCP 80", "denied"),
            ("shop/db", "outside", "ICMP", "denied"),
            *(("outside", "shop/web", service, "allowed") for service in ("TCP 80", "SCTP 80", "ICMP")),
            *(("shop/web", "node-a", service, "allowed") for service in ("TCP 80", "UDP 53", "ICMP")),
        ],
    ),
    # API: "If you want to write an egress-only policy, you must explicitly specify policyTypes [ "Egress" ]."
    "a policy of one type leaves the other direction open": (
        cluster(policy("shop/out", labels("app=db"), egress=[])),
        [
            ("ops/web", "shop/db", "TCP 80", "allowed"),
            ("outside", "shop/db", "TCP 80", "allowed"),
            ("shop/db", "ops/web", "TCP 80", "denied"),
        ],
    ),
    # Kubernetes: labels are looked up as they are now, on whatever node.
    "peers and isolation follow the labels of a pod on another node": (
        cluster(
            policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops", "app=web")])]),
            pods=changed("ops/web", labels={"app": "other"}),
        ),
        [("ops/web", "shop/db", "TCP 80", "denied")],
    ),
    "a pod that lost its label is no subject any more": (
        cluster(FROM_WEB, pods=changed("shop/db", labels={})),
        [("ops/scraper", "shop/db", "TCP 80", "allowed")],
    ),
    "peers follow the labels of a namespace": (
        RELABELLED,
        [("ops/web", "shop/db", "TCP 80", "denied"), ("ops/scraper", "shop/db", "TCP 80", "denied")],
    ),
    "a pod whose namespace is not known is selected by no namespaceSelector": (
        Cluster.of(
            [Namespace("shop", {"team": "shop"})],
            PODS,
            [
                policy("shop/p", labels("app=db"), ingress=[rule([spaces("")])]),
                policy("ops/p", labels("app=web"), ingress=[rule([pods("app=scraper")])]),
            ],
            NODES,
        ),
        [
            ("shop/api", "shop/db", "TCP 80", "allowed"),
            ("ops/web", "shop/db", "TCP 80", "denied"),
            ("ops/scraper", "ops/web", "TCP 80", "allowed"),
            ("shop/api", "ops/web", "TCP 80", "denied"),
        ],
    ),
    # Kubernetes says "Traffic to/from hostNetwork pods is treated the same as all other traffic to/from the node IP."
    "a hostNetwork pod is never subject": (
        cluster(CLOSED, pods=HOSTED),
        [
            ("shop/web", "outside", "TCP 80", "allowed"),
            ("ops/web", "shop/web", "TCP 80", "allowed"),
            ("shop/web", "shop/db", "TCP 80", "allowed"),
        ],
    ),
    "a hostNetwork pod is never a member of a selector peer": (
        cluster(policy("shop/p", labels("app=api"), ingress=[rule([pods("app=web")])]), pods=HOSTED),
        [("shop/web", "shop/api", "TCP 80", "denied"), ("node-a", "shop/api", "TCP 80", "denied")],
    ),
    "a block with its node's address names a hostNetwork pod": (
        cluster(
            policy(
                "shop/p",
                labels("app=api"),
                ingress=[rule([block("172.31.0.11/32"), block("fd31::b/128")], ["TCP 80"])],
            ),
            pods=HOSTED,
        ),
        [
            ("shop/web", "shop/api", "TCP 80", "allowed"),
            ("shop/web", "shop/api", "TCP 81", "denied"),
            ("shop/web", "shop/api", "ICMP", "denied"),
        ],
    ),
    # What closed the way to the operator, or its way to the API server, could never be told to open again.
    "no policy isolates a pod that runs as the operator": (
        operated(CLOSED, policy("shop/unreadable", None, UNREADABLE, UNREADABLE)),
        [
            *(("shop/web", end, "TCP 443", "allowed") for end in ("ops/web", "node-a", "node-b", "outside")),
            *(
                (end, "shop/web", "TCP 443", "allowed")
                for end in ("ops/web", "ops/scraper", "node-b", "outside")
            ),
            ("shop/web", "ops/web", "UDP 53", "allowed"),
            ("ops/web", "shop/web", "ICMP", "allowed"),
            ("ops/web", "shop/db", "TCP 443", "denied"),
            ("shop/db", "shop/web", "TCP 443", "denied"),
            ("shop/web", "shop/api", "TCP 443", "denied"),
        ],
    ),
    "the operator is a peer like any other": (
        operated(CLOSED, FROM_WEB),
        [
            ("shop/web", "shop/db", "TCP 80", "allowed"),
            ("shop/db", "shop/web", "TCP 80", "denied"),
            ("shop/web", "shop/api", "TCP 80", "denied"),
        ],
    ),
    "the operator's account in another namespace is another": (
        replace(operated(CLOSED), operator=ServiceAccount("ops", "steward")),
        [("ops/web", "shop/web", "TCP 443", "denied"), ("shop/web", "outside", "TCP 443", "denied")],
    ),
    # API, PodStatus: Succeeded and Failed mean "all containers in the pod have terminated".
    "the address of a pod that has ended leaves every set": (
        cluster(FROM_WEB, pods=changed("shop/web", phase=Phase.SUCCEEDED)),
        [(WEB, "shop/db", "TCP 80", "denied"), ("outside", WEB, "TCP 80", "allowed")],
    ),
    "the address of a failed pod belongs to its successor alone": (
        cluster(
            FROM_WEB,
            policy("ops/closed", labels("app=other"), ingress=[]),
            pods=(*changed("shop/web", phase=Phase.FAILED), NEW),
        ),
        [
            ("ops/successor", "shop/db", "TCP 80", "denied"),
            ("outside", "ops/successor", "TCP 80", "denied"),
            ("ops/successor", "outside", "TCP 80", "allowed"),
        ],
    ),
    "a pod without an address is nobody": (
        cluster(FROM_WEB, CLOSED, pods=changed("shop/web", addresses=())),
        [(WEB, "shop/db", "TCP 80", "denied"), ("ops/scraper", WEB, "TCP 80", "allowed")],
    ),
    "a terminating pod is still subject and still a member": (
        cluster(
            policy("shop/p", EVERYTHING, ingress=[rule([pods("app=web")])]),
            pods=changed("shop/web", ending=Ending.TERMINATING),
        ),
        [
            ("shop/web", "shop/db", "TCP 80", "allowed"),
            ("shop/db", "shop/web", "TCP 80", "denied"),
            ("ops/web", "shop/web", "TCP 80", "denied"),
        ],
    ),
    "an address two pods report belongs to the live one alone": (
        cluster(FROM_WEB, policy("shop/q", labels("app=web"), ingress=[]), pods=[OLD, NEW, *PODS[1:]]),
        [
            ("ops/successor", "shop/db", "TCP 80", "denied"),
            ("shop/api", "ops/successor", "TCP 80", "allowed"),
        ],
    ),
    # API, port: "This can either be a numerical or named port on a pod": the selected pod's own in an ingress rule.
    "named port of an ingress rule is the number of the selected pod": (
        cluster(policy("shop/p", EVERYTHING, ingress=[rule(None, ["TCP http"])])),
        [
            ("outside", "shop/web", "TCP 80", "allowed"),
            ("outside", "shop/web", "TCP 8080", "denied"),
            ("outside", "shop/web", "UDP 80", "denied"),
            ("outside", "shop/api", "TCP 8080", "allowed"),
            ("outside", "shop/api", "TCP 80", "denied"),
            ("outside", "shop/db", "TCP 80", "denied"),
        ],
    ),
    "one port name with two numbers and two protocols": (
        cluster(
            policy("shop/p", labels("app=web"), ingress=[rule(None, ["TCP http"])]),
            pods=changed(
                "shop/web", ports=(HTTP, NamedPort("http", "TCP", 8443), NamedPort("http", "UDP", 443))
            ),
        ),
        [
            ("outside", "shop/web", "TCP 80", "allowed"),
            ("outside", "shop/web", "TCP 8443", "allowed"),
            ("outside", "shop/web", "TCP 443", "denied"),
            ("outside", "shop/web", "UDP 443", "denied"),
        ],
    ),
    # API, podIPs: every address "allocated to the pod".
    "a pod is known by the addresses it reports and by no other": (
        cluster(FROM_WEB, pods=changed("shop/web", addresses=(PODS[0].addresses[0],))),
        [
            (WEB, "shop/db", "TCP 80", "allowed"),
            (str(PODS[0].addresses[1]), "shop/db", "TCP 80", "denied"),
        ],
    ),
}


BY_POD_AND_NAMESPACE = policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops", "app=web")])])
CHANGES: dict[str, Cluster] = {
    "the label of a pod on another node": cluster(
        BY_POD_AND_NAMESPACE, pods=changed("ops/web", labels={"app": "other"})
    ),
    "the label of a namespace": Cluster.of(
        [Namespace("shop", {"team": "shop"}), Namespace("ops", {"team": "new"})],
        PODS,
        [BY_POD_AND_NAMESPACE],
        NODES,
    ),
}


@pytest.mark.parametrize("after", CHANGES.values(), ids=CHANGES.keys())
async def test_a_peer_follows_at_once(stage: Stage, after: Cluster, record_property: Record) -> None:
    # Kubernetes, on what changes the effect of a policy: "if the relevant labels of the namespaces/pods selected by the
    # policy (both subject and peers) are changed".
    before = cluster(BY_POD_AND_NAMESPACE)
    count = 0
    for state, verdict in ((before, "allowed"), (after, "denied"), (before, "allowed")):
        rows = [("ops/web", "shop/db", "TCP 80", verdict), ("ops/scraper", "shop/db", "TCP 80", "denied")]
        count += await assert_rows(stage, state, rows)
    record_property(on(stage, "rows of cluster states with packets"), count)


async def test_isolation_follows_the_label_of_the_subject_at_once(
    stage: Stage, record_property: Record
) -> None:
    closed = policy("shop/p", labels("app=db"), ingress=[], egress=[])
    count = 0
    for app, verdict in (("db", "denied"), ("other", "allowed"), ("db", "denied")):
        rows = [("ops/web", "shop/db", "TCP 80", verdict), ("shop/db", "ops/web", "TCP 80", verdict)]
        state = cluster(closed, pods=changed("shop/db", labels={"app": app}))
        count += await assert_rows(stage, state, rows)
    record_property(on(stage, "rows of cluster states with packets"), count)


@pytest.mark.parametrize(("state", "rows"), CASES.values(), ids=CASES.keys())
async def test_packets_and_walk_and_evaluator_agree_that(
    stage: Stage, state: Cluster, rows: list[Row], record_property: Record
) -> None:
    record_property(on(stage, "rows of cluster states with packets"), await assert_rows(stage, state, rows))
