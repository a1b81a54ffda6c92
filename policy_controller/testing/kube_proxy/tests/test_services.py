"""Services as values, and what kube-proxy decides about each before it writes a rule."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.model.words import Family, Protocol
from policy_controller.testing.kube_proxy.names import (
    iptables_chain,
    iptables_endpoint_chain,
    nft_base,
    nft_endpoint_base,
    quoted,
)
from policy_controller.testing.kube_proxy.routing import Refusal, Routing, routings
from policy_controller.testing.kube_proxy.services import Endpoint, InvalidService, ServicePort
from policy_controller.testing.kube_proxy.tests.street import HERE, LOCAL, NODE, SERVICES, THERE, one

HOSTILE = ('x"; flush ruleset; "', "x\nCOMMIT", "$(reboot)", "../x", "X", "x" * 64)


def made(**fields: object) -> ServicePort:
    """A legal Service port but for these fields."""
    legal = ServicePort("shop", "web", Protocol.TCP, 80, (NODE.addresses[0],))
    return replace(legal, **fields)  # type: ignore[arg-type] # field values are the caller's


def routing(name: str, family: Family = Family.IPV4) -> Routing:
    (found,) = routings([SERVICES[name]], NODE, family)
    return found


@pytest.mark.parametrize(
    ("name", "inside", "outside", "chains"),
    [
        ("ClusterIP", None, None, "cluster"),
        ("without endpoints", Refusal.REJECT, Refusal.REJECT, ""),
        ("node port", None, None, "cluster"),
        ("node port, Local", None, None, "cluster local"),
        # Local with endpoints elsewhere only: dropped, but pods and processes of the node may go there.
        ("node port, Local, none here", None, Refusal.DROP, "cluster"),
        ("internal Local", None, None, "local"),
        ("internal Local, none here", Refusal.DROP, None, ""),
        ("both Local, none here", Refusal.DROP, Refusal.DROP, "cluster"),
        ("external addresses", None, None, "cluster local"),
    ],
)
def test_traffic_policies_decide_who_has_which_endpoints(
    name: str, inside: Refusal | None, outside: Refusal | None, chains: str
) -> None:
    for family in Family:
        found = routing(name, family)
        assert (found.inside, found.outside) == (inside, outside)
        words = [("cluster", found.has_cluster_chain), ("local", found.has_local_chain)]
        assert " ".join(word for word, has in words if has) == chains


def test_endpoints_are_those_of_the_family_and_sorted() -> None:
    for index, family in enumerate(Family):
        (found,) = routings([one(1, (THERE + HERE)[::-1])], NODE, family)
        assert found.everywhere == (HERE[index], THERE[index])
        assert found.here == (HERE[index],)


def test_a_headless_service_and_one_of_the_other_family_need_nothing() -> None:
    assert not list(routings([SERVICES["headless"]], NODE, Family.IPV4))
    assert not list(routings([SERVICES["SCTP"]], NODE, Family.IPV6))


def test_chains_have_the_names_that_kube_proxy_gives_them() -> None:
    # As the tests of kubernetes/kubernetes, pkg/proxy/nftables and pkg/proxy/iptables, have them.
    service = ServicePort("ns1", "svc1", Protocol.TCP, 80, port_name="p80")
    endpoint = Endpoint(ip_address("10.180.0.1"), 80)
    assert nft_base(service) == "ULMVA6XW-ns1/svc1/tcp/p80"
    assert nft_endpoint_base(service, endpoint) == "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    assert iptables_chain("KUBE-SVC-", service) == "KUBE-SVC-XPGD46QRK7WJZT7O"
    assert iptables_endpoint_chain(service, endpoint) == "KUBE-SEP-SXIVWICOYRO3J4NJ"


@pytest.mark.parametrize("field", ["namespace", "name", "port_name"])
@pytest.mark.parametrize("text", HOSTILE)
def test_names_that_no_object_can_have_are_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidService, match="DNS label"):
        made(**{field: text})


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\0", "é", "`", "$"])
def test_what_could_end_a_quoted_word_is_refused(text: str) -> None:
    with pytest.raises(InvalidService):
        quoted(f"shop/web{text}")


@pytest.mark.parametrize(
    "fields",
    [
        {"port": 0},
        {"port": 65536},
        {"node_port": 0},
        {"affinity_seconds": 0},
        {"affinity_seconds": 86401},
        {"cluster_ips": (NODE.addresses[0], NODE.addresses[0])},
        {"cluster_ips": (), "node_port": 30000},
        {"cluster_ips": (), "external_ips": (NODE.addresses[0],), "external": LOCAL},
    ],
    ids=str,
)
def test_values_that_no_service_can_have_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidService):
        made(**fields)


def test_an_endpoint_port_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidService):
        Endpoint(NODE.addresses[0], 0)
