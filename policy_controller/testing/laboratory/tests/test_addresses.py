"""The address plan, without any namespace."""

from ipaddress import ip_address, ip_network

import pytest

from policy_controller.testing.laboratory import LaboratoryError
from policy_controller.testing.laboratory.addresses import (
    MOST_NODES,
    MOST_PODS_OF_A_NODE,
    hardware_address,
    link_local,
    next_host,
    node_addresses,
    pod_networks,
)
from policy_controller.testing.laboratory.inhabitants import checked_name
from policy_controller.testing.laboratory.neighbours import entries_wanted


def test_nodes_and_their_pod_networks_never_overlap() -> None:
    indices = range(1, MOST_NODES + 1)
    addresses = [address for index in indices for address in node_addresses(index)]
    networks = [network for index in indices for network in pod_networks(index)]

    assert len(set(addresses)) == 2 * MOST_NODES
    assert len(set(networks)) == 2 * MOST_NODES
    assert pod_networks(3) == (ip_network("10.244.3.0/24"), ip_network("fd10:244:3::/64"))
    assert node_addresses(1) == (ip_address("172.31.0.11"), ip_address("fd31::b"))


@pytest.mark.parametrize(
    ("taken", "last", "expected"),
    [
        pytest.param(set(), 1, 2, id="the gateway is host 1"),
        pytest.param({2}, 2, 3, id="the next one"),
        pytest.param(set(), 2, 3, id="a freed address comes back late"),
        pytest.param({3, 4}, 2, 5, id="past those taken"),
        pytest.param(set(), 254, 2, id="round and round, without the broadcast address"),
        pytest.param(set(range(2, 255)) - {7}, 7, 7, id="the last one left"),
        pytest.param(set(range(2, 255)), 7, None, id="none left"),
    ],
)
def test_next_host_goes_round(taken: set[int], last: int, expected: int | None) -> None:
    assert next_host(taken, last) == expected


def test_every_pod_of_a_node_can_have_an_address() -> None:
    taken: set[int] = set()
    while (host := next_host(taken, max(taken, default=1))) is not None:
        taken.add(host)

    assert len(taken) == MOST_PODS_OF_A_NODE


def test_link_local_address_follows_from_the_mac() -> None:
    mac = hardware_address(ip_address("10.244.1.2"))

    assert mac == "0a:58:0a:f4:01:02"
    assert str(link_local(mac, "eth0")) == "fe80::858:aff:fef4:102%eth0"


def test_neighbour_entries_grow_with_the_square_of_a_nodes_pods() -> None:
    small, large = entries_wanted([5, 4], hosts=3), entries_wanted([100], hosts=1)

    assert 2 * small < 1024 < large
    assert entries_wanted([50, 50], hosts=2) < large


@pytest.mark.parametrize("name", ["", "-x", "../x", "a b", "A", "x" * 300, "x\n", "-rf", "a/b", "."])
def test_a_hostile_name_names_no_namespace(name: str) -> None:
    with pytest.raises(LaboratoryError, match="cannot name a namespace"):
        checked_name(name)
