"""Who is selected, as subject and as peer: one table a row of the behaviours that engines get wrong."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.evaluate.tests.stage import (
    HTTP,
    NODES,
    PODS,
    block,
    changed,
    cluster,
    decide,
    labels,
    pod,
    pods,
    policy,
    requires,
    rule,
    spaces,
    verdict,
)
from compilers.model.cluster import Cluster, Ending, Namespace, Phase, PodNetwork
from compilers.model.faults import Fault, InvalidField
from compilers.model.policy import SelectorPeer, Side
from compilers.model.selector import EVERYTHING, LabelSelector, Operator, Requirement


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("shop/web", "denied"), ("shop/db", "denied"), ("ops/web", "allowed"), ("outside", "allowed")],
)
def test_empty_pod_selector_in_spec_selects_every_pod_of_the_namespace(
    destination: str, expected: str
) -> None:
    # API, podSelector: "An empty podSelector matches all pods in this namespace."
    state = cluster(policy("shop/closed", EVERYTHING, ingress=[]))
    assert verdict(state, "ops/scraper", destination, "TCP 80") == expected


def test_rules_of_a_direction_that_is_not_among_policy_types_have_no_effect() -> None:
    # API: "If you want to write an egress-only policy, you must explicitly specify policyTypes [ "Egress" ]."
    # The default of policyTypes is the parser's; what reaches the evaluator is the directions that isolate.
    state = cluster(policy("shop/out", EVERYTHING, egress=[rule()]))
    assert verdict(state, "ops/web", "shop/db", "TCP 80") == "allowed"
    only_in = cluster(policy("shop/in", EVERYTHING, ingress=[]))
    assert verdict(only_in, "shop/db", "ops/web", "TCP 80") == "allowed"


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize(("rules", "expected"), [([], "denied"), ([rule()], "allowed")])
def test_no_rules_admit_nothing_and_the_empty_rule_admits_everything(
    direction: str, rules: list[object], expected: str
) -> None:
    # API: "If this field is empty then this NetworkPolicy does not allow any traffic (and serves solely to ensure that
    # the pods it selects are isolated by default)."
    state = cluster(policy("shop/p", EVERYTHING, **{direction: rules}))  # type: ignore[arg-type] # a table of rules
    for other in ("shop/web", "ops/web", "outside"):
        ends = (other, "shop/db") if direction == "ingress" else ("shop/db", other)
        for service in ("TCP 80", "UDP 53", "SCTP 9", "ICMP"):
            assert verdict(state, *ends, service) == expected


@pytest.mark.parametrize("peers", [None, ()])
def test_absent_and_empty_from_are_every_source_also_outside_the_cluster(peers: tuple[()] | None) -> None:
    # API, from: "If this field is empty or missing, this rule matches all sources (traffic not restricted by source)."
    state = cluster(policy("shop/p", EVERYTHING, ingress=[rule(peers, ["TCP 80"])]))
    for source in ("shop/web", "ops/web", "node-b", "outside"):
        assert verdict(state, source, "shop/db", "TCP 80") == "allowed"
        assert verdict(state, source, "shop/db", "TCP 81") == "denied"


def test_a_peer_with_nothing_is_invalid() -> None:
    # API server: a peer "must specify a peer".
    with pytest.raises(InvalidField):
        SelectorPeer(None, None)


PEERS = [
    # peer of an ingress rule of shop, then for each source whether it is one
    (
        pods("app=web"),
        {"shop/web": "allowed", "ops/web": "denied", "shop/api": "denied", "outside": "denied"},
    ),
    (pods(""), {"shop/web": "allowed", "shop/api": "allowed", "ops/web": "denied", "outside": "denied"}),
    (spaces(""), {"shop/web": "allowed", "ops/web": "allowed", "outside": "denied", "node-b": "denied"}),
    (spaces("team=ops"), {"shop/web": "denied", "ops/web": "allowed", "ops/scraper": "allowed"}),
    (spaces("", "app=web"), {"shop/web": "allowed", "ops/web": "allowed", "ops/scraper": "denied"}),
    (spaces("team=ops", "app=web"), {"shop/web": "denied", "ops/web": "allowed", "ops/scraper": "denied"}),
    (spaces("team=ops", ""), {"shop/web": "denied", "ops/web": "allowed", "ops/scraper": "allowed"}),
    # The name label is always there: the API server sets it, and from files it is added.
    (spaces("kubernetes.io/metadata.name=ops"), {"ops/web": "allowed", "shop/web": "denied"}),
]


@pytest.mark.parametrize(("peer", "expected"), PEERS, ids=[str(index) for index in range(len(PEERS))])
def test_selectors_of_a_peer_select_pods_of_their_scope_and_nothing_else(
    peer: SelectorPeer, expected: dict[str, str]
) -> None:
    # API: podSelector without namespaceSelector "selects the pods matching podSelector in the policy's own namespace";
    # an empty namespaceSelector "selects all namespaces"; both: "the pods matching podSelector in the namespaces
    # selected by namespaceSelector".
    inward = cluster(policy("shop/p", labels("app=db"), ingress=[rule([peer])]))
    outward = cluster(policy("shop/p", labels("app=db"), egress=[rule([peer])]))
    assert {end: verdict(inward, end, "shop/db", "TCP 80") for end in expected} == expected
    assert {end: verdict(outward, "shop/db", end, "TCP 80") for end in expected} == expected


def test_both_selectors_in_one_peer_are_and_but_two_peers_are_or() -> None:
    # Kubernetes: "be careful to use correct YAML syntax": one entry with both is AND, two entries are OR.
    both = cluster(policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops", "app=web")])]))
    either = cluster(
        policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops"), pods("app=web")])])
    )
    sources = ("shop/web", "shop/api", "ops/web", "ops/scraper")
    assert [verdict(both, end, "shop/db", "TCP 80") for end in sources] == [
        "denied",
        "denied",
        "allowed",
        "denied",
    ]
    assert [verdict(either, end, "shop/db", "TCP 80") for end in sources] == [
        "allowed",
        "denied",
        "allowed",
        "allowed",
    ]


@pytest.mark.parametrize(
    ("selector", "matching"),
    [
        (requires("env", Operator.IN, "prod", "test"), {"shop/web", "shop/api"}),
        (requires("env", Operator.NOT_IN, "test"), {"shop/web", "shop/api", "shop/db"}),
        (requires("env", Operator.NOT_IN, "prod"), {"shop/db"}),
        (requires("env", Operator.EXISTS), {"shop/web", "shop/api"}),
        (requires("env", Operator.DOES_NOT_EXIST), {"shop/db"}),
        (
            LabelSelector((("app", "web"),), (Requirement("env", Operator.IN, ("prod",)),)),
            {"shop/web"},
        ),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_not_in_and_does_not_exist_match_what_lacks_the_key(
    selector: LabelSelector, matching: set[str]
) -> None:
    # Kubernetes, labels: NotIn also selects "all resources with no labels with the [...] key".
    state = cluster(policy("shop/p", selector, ingress=[]))
    denied = {
        end
        for end in ("shop/web", "shop/api", "shop/db")
        if verdict(state, "ops/web", end, "TCP 80") == "denied"
    }
    assert denied == matching
    as_peer = cluster(
        policy("ops/p", labels("app=web"), ingress=[rule([SelectorPeer(selector, EVERYTHING)])])
    )
    admitted = {
        end
        for end in ("shop/web", "shop/api", "shop/db")
        if verdict(as_peer, end, "ops/web", "TCP 80") == "allowed"
    }
    assert admitted == matching


def test_peers_and_isolation_follow_the_labels_of_pods_and_namespaces() -> None:
    # API: selectors are evaluated on the labels that objects have now.
    closed = policy("shop/p", labels("app=db"), ingress=[rule([spaces("team=ops", "app=web")])])
    assert verdict(cluster(closed), "ops/web", "shop/db", "TCP 80") == "allowed"
    relabelled = cluster(closed, pods=changed("ops/web", labels={"app": "other"}))
    assert verdict(relabelled, "ops/web", "shop/db", "TCP 80") == "denied"
    freed = cluster(closed, pods=changed("shop/db", labels={}))
    assert verdict(freed, "ops/scraper", "shop/db", "TCP 80") == "allowed"
    renamed = Cluster.of([Namespace("shop", {}), Namespace("ops", {"team": "new"})], PODS, [closed], NODES)
    assert verdict(renamed, "ops/web", "shop/db", "TCP 80") == "denied"


def test_a_namespace_that_is_not_known_is_selected_by_no_namespace_selector() -> None:
    # A namespaceSelector reads labels; those of a namespace nobody has described are unknown, not empty.
    peer = policy("shop/p", labels("app=db"), ingress=[rule([spaces("")])])
    state = Cluster.of([Namespace("shop", {})], PODS, [peer], NODES)
    assert verdict(state, "shop/web", "shop/db", "TCP 80") == "allowed"
    assert verdict(state, "ops/web", "shop/db", "TCP 80") == "denied"
    own = Cluster.of([], PODS, [policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")])])], NODES)
    assert verdict(own, "shop/web", "shop/db", "TCP 80") == "allowed"


def test_a_host_network_pod_is_its_node_and_neither_subject_nor_member() -> None:
    # Kubernetes: the plugin "ignores hostNetwork pods when matching podSelector and namespaceSelector. Traffic to/from
    # hostNetwork pods is treated the same as all other traffic to/from the node IP."
    everything = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
    hosted = changed("shop/web", network=PodNetwork.HOST, addresses=NODES[0].addresses)
    state = cluster(everything, pods=hosted)
    assert verdict(state, "shop/web", "outside", "TCP 80") == "allowed"
    assert verdict(state, "ops/web", "shop/web", "TCP 80") == "allowed"
    member = cluster(policy("shop/p", labels("app=api"), ingress=[rule([pods("app=web")])]), pods=hosted)
    assert verdict(member, "shop/web", "shop/api", "TCP 80") == "denied"
    by_block = rule([block("172.31.0.11/32"), block("fd31::b/128")])
    named = cluster(policy("shop/p", labels("app=api"), ingress=[by_block]), pods=hosted)
    assert verdict(named, "shop/web", "shop/api", "TCP 80") == "allowed"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_a_pod_that_has_ended_is_a_member_of_nothing_and_its_address_may_be_reused(phase: Phase) -> None:
    # API, PodStatus: in these phases "all containers in the pod have terminated".
    peer = policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")])])
    ended = changed("shop/web", phase=phase)
    address = str(PODS[0].addresses[0])
    assert verdict(cluster(peer), address, "shop/db", "TCP 80") == "allowed"
    assert verdict(cluster(peer, pods=ended), address, "shop/db", "TCP 80") == "denied"
    successor = replace(PODS[4], addresses=PODS[0].addresses, labels={"app": "web"}, namespace="shop")
    state = cluster(peer, pods=[successor if item is PODS[4] else item for item in ended])
    assert verdict(state, address, "shop/db", "TCP 80") == "allowed"


def test_a_pod_without_an_address_is_nobody() -> None:
    state = cluster(
        policy("shop/p", EVERYTHING, ingress=[rule([pods("app=web")])]),
        pods=changed("shop/web", addresses=()),
    )
    for address in map(str, PODS[0].addresses):
        assert verdict(state, "ops/web", address, "TCP 80") == "allowed"
        assert verdict(state, address, "shop/db", "TCP 80") == "denied"


def test_a_terminating_pod_is_still_subject_and_still_a_member() -> None:
    state = cluster(
        policy("shop/p", EVERYTHING, ingress=[rule([pods("app=web")])]),
        pods=changed("shop/web", ending=Ending.TERMINATING),
    )
    assert verdict(state, "shop/web", "shop/db", "TCP 80") == "allowed"
    assert verdict(state, "ops/web", "shop/web", "TCP 80") == "denied"


def test_an_address_two_pods_report_belongs_to_the_live_one_alone() -> None:
    # Merging the permissions of both would open the successor to what only its predecessor was allowed.
    old = replace(PODS[0], ending=Ending.TERMINATING, created="2024-01-01T00:00:00Z")
    new = replace(
        pod("ops/successor", {"app": "other"}, "node-a", 11, [HTTP]), created="2024-01-02T00:00:00Z"
    )
    state = cluster(
        policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")])]),
        policy("shop/closed", labels("app=web"), ingress=[]),
        pods=[old, new, *PODS[1:]],
    )
    address = str(old.addresses[0])
    assert verdict(state, address, "shop/db", "TCP 80") == "denied"
    assert verdict(state, "shop/api", address, "TCP 80") == "allowed"


def test_every_address_of_a_dual_stack_pod_is_the_pod() -> None:
    # API, podIPs: "the IP addresses allocated to the pod", "at most 1 value for each of IPv4 and IPv6".
    state = cluster(policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")])]))
    decisions = decide(state, "shop/web", "shop/db", "TCP 80")
    assert [decision.traffic.family.value for decision in decisions] == [4, 6]
    single = cluster(
        policy("shop/p", labels("app=db"), ingress=[rule([pods("app=web")])]),
        pods=changed("shop/web", addresses=(ip_address("10.244.1.11"),)),
    )
    assert len(decide(single, "shop/web", "shop/db", "TCP 80")) == 1


def test_a_side_that_could_not_be_read_isolates_and_admits_nothing_and_others_still_admit() -> None:
    broken = policy("shop/broken", labels("app=db"))
    fault = Fault(broken.ref, ("spec", "ingress", 0), "is wrong")
    closed = policy("shop/broken", labels("app=db"), ingress=Side(faults=(fault,)))
    assert verdict(cluster(closed), "shop/web", "shop/db", "TCP 80") == "denied"
    assert verdict(cluster(closed), "shop/db", "shop/web", "TCP 80") == "allowed"
    assert verdict(cluster(closed), "shop/web", "shop/api", "TCP 80") == "allowed"
    other = policy("shop/good", labels("app=db"), ingress=[rule([pods("app=web")])])
    assert verdict(cluster(closed, other), "shop/web", "shop/db", "TCP 80") == "allowed"
    unread = policy("shop/broken", None, ingress=Side(faults=(fault,)))
    assert verdict(cluster(unread), "shop/web", "shop/api", "TCP 80") == "denied"
    assert verdict(cluster(unread), "shop/web", "ops/web", "TCP 80") == "allowed"
