"""Ports by number, by name and by range: one table a row of the behaviours that engines get wrong."""

import pytest

from compilers.evaluate.tests.stage import (
    HTTP,
    block,
    changed,
    cluster,
    labels,
    pods,
    policy,
    rule,
    spaces,
    verdict,
)
from compilers.model.faults import InvalidField
from compilers.model.policy import Peer
from compilers.model.port import NamedPort, PortMatch
from compilers.model.selector import EVERYTHING
from compilers.model.words import Protocol

SERVICES = ("TCP 0", "TCP 79", "TCP 80", "TCP 81", "TCP 65535", "UDP 80", "UDP 53", "SCTP 80", "ICMP")

PORTS = [
    # (entries of `ports`, the services admitted; the rest of SERVICES is not)
    (None, set(SERVICES)),
    ([], set(SERVICES)),
    (["TCP"], {"TCP 0", "TCP 79", "TCP 80", "TCP 81", "TCP 65535"}),
    (["UDP"], {"UDP 80", "UDP 53"}),
    (["SCTP"], {"SCTP 80"}),
    (["SCTP 80"], {"SCTP 80"}),
    (["TCP 80"], {"TCP 80"}),
    (["TCP 80", "UDP 53"], {"TCP 80", "UDP 53"}),
    (["TCP 79-80"], {"TCP 79", "TCP 80"}),
    (["TCP 80-80"], {"TCP 80"}),
    (["TCP 1-65535"], {"TCP 79", "TCP 80", "TCP 81", "TCP 65535"}),
]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize(("ports", "admitted"), PORTS, ids=[str(ports) for ports, _ in PORTS])
def test_numbers_ranges_and_protocols_admit_exactly_what_they_name(
    ports: list[str] | None, admitted: set[str], direction: str
) -> None:
    # API: ports "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)";
    # port "If this field is not provided, this matches all port names and numbers"; endPort: "the range of ports from
    # port to endPort if set, inclusive". ICMP is admitted only by a rule without ports; SCTP never widens to TCP.
    state = cluster(policy("shop/p", labels("app=db"), **{direction: [rule(None, ports)]}))
    ends = ("ops/web", "shop/db") if direction == "ingress" else ("shop/db", "ops/web")
    assert {service for service in SERVICES if verdict(state, *ends, service) == "allowed"} == admitted


@pytest.mark.parametrize(("port", "end"), [("http", 90), (None, 90), (91, 90), (80, 65536)])
def test_end_port_needs_a_number_that_is_not_greater(port: int | str | None, end: int) -> None:
    # API: endPort "cannot be defined if the port field is not defined or if the port field is defined as a named
    # (string) port. The endPort must be equal or greater than port."
    with pytest.raises(InvalidField):
        PortMatch(Protocol.TCP, port, end)


def test_named_port_of_an_ingress_rule_is_the_number_of_the_selected_pod() -> None:
    # API: port "can either be a numerical or named port on a pod". shop/web says 80, shop/api 8080, shop/db nothing.
    state = cluster(policy("shop/p", EVERYTHING, ingress=[rule(None, ["TCP http"])]))
    admitted = {
        (pod, number)
        for pod in ("shop/web", "shop/api", "shop/db")
        for number in (80, 8080)
        if verdict(state, "ops/web", pod, f"TCP {number}") == "allowed"
    }
    assert admitted == {("shop/web", 80), ("shop/api", 8080)}
    assert verdict(state, "ops/web", "shop/web", "UDP 80") == "denied"


def test_named_port_of_an_ingress_rule_holds_for_block_peers_too() -> None:
    # The name is the subject's, so it does not matter that the source is known by its address alone.
    peers = [block("203.0.113.0/24"), block("2001:db8:cafe::/64")]
    state = cluster(policy("shop/p", EVERYTHING, ingress=[rule(peers, ["TCP http"])]))
    assert verdict(state, "outside", "shop/api", "TCP 8080") == "allowed"
    assert verdict(state, "outside", "shop/api", "TCP 80") == "denied"
    assert verdict(state, "ops/web", "shop/api", "TCP 8080") == "denied"


EGRESS_NAMES: list[tuple[list[Peer] | None, set[tuple[str, int]]]] = [
    (None, {("shop/web", 80), ("shop/api", 8080), ("ops/web", 80)}),
    ([], {("shop/web", 80), ("shop/api", 8080), ("ops/web", 80)}),
    ([spaces("")], {("shop/web", 80), ("shop/api", 8080), ("ops/web", 80)}),
    ([pods("")], {("shop/web", 80), ("shop/api", 8080)}),
    ([spaces("team=ops")], {("ops/web", 80)}),
    # A block has no names, even where it covers a pod that has them.
    ([block("0.0.0.0/0"), block("::/0")], set()),
    ([block("0.0.0.0/0"), block("::/0"), pods("app=api")], {("shop/api", 8080)}),
]


@pytest.mark.parametrize(
    ("peers", "admitted"), EGRESS_NAMES, ids=[str(index) for index in range(len(EGRESS_NAMES))]
)
def test_named_port_resolves_per_destination_pod(
    peers: list[Peer] | None, admitted: set[tuple[str, int]]
) -> None:
    # API: port "can either be a numerical or named port on a pod": each destination's own.
    state = cluster(policy("shop/p", labels("app=db"), egress=[rule(peers, ["TCP http"])]))
    ends = ("shop/web", "shop/api", "ops/web", "ops/scraper", "outside", "node-b", "node-a")
    found = {
        (end, number)
        for end in ends
        for number in (80, 8080)
        if verdict(state, "shop/db", end, f"TCP {number}") == "allowed"
    }
    assert found == admitted


def test_same_name_twice_is_told_apart_by_protocol_and_several_numbers_all_match() -> None:
    # Kubernetes: a port name "must be unique" in a container only; a pod may give one name several numbers.
    twice = (HTTP, NamedPort("http", "TCP", 8443), NamedPort("http", "UDP", 443))
    state = cluster(
        policy("shop/p", labels("app=web"), ingress=[rule(None, ["TCP http"])]),
        policy("shop/q", labels("app=db"), egress=[rule(None, ["UDP http"])]),
        pods=changed("shop/web", ports=twice),
    )
    services = ("TCP 80", "TCP 8443", "TCP 443", "UDP 443", "UDP 80")
    assert [verdict(state, "ops/web", "shop/web", service) for service in services] == [
        "allowed",
        "allowed",
        "denied",
        "denied",
        "denied",
    ]
    out = cluster(state.policies[1], pods=changed("shop/web", ports=twice))
    assert [verdict(out, "shop/db", "shop/web", service) for service in services] == [
        "denied",
        "denied",
        "denied",
        "allowed",
        "denied",
    ]


def test_a_host_network_pod_gives_no_names() -> None:
    # It is its node, and a node has no containers.
    state = cluster(
        policy("shop/p", labels("app=db"), egress=[rule(None, ["TCP http"]), rule(None, ["TCP 9100"])]),
    )
    assert verdict(state, "shop/db", "node-b", "TCP 80") == "denied"
    assert verdict(state, "shop/db", "node-b", "TCP 9100") == "allowed"
