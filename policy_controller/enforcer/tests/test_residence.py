"""Who is on a node, as the kernel knows it: the addresses in the namespaces of pods, on every pod network."""

from collections.abc import Iterator

import pytest

from compilers.model.words import Address
from policy_controller.enforcer.residence import LinkedNamespaces, Residents
from policy_controller.testing.laboratory import Laboratory, NetworkKind
from policy_controller.testing.laboratory.links import links_of

pytestmark = pytest.mark.packets
NET_ADMIN = 12


@pytest.fixture(scope="module", params=NetworkKind, ids=lambda kind: kind.value)
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    with Laboratory(network=request.param) as made:
        made.add_node("node-a")
        yield made


def look(laboratory: Laboratory) -> Residents:
    return laboratory.run_in(laboratory.nodes["node-a"].namespace, LinkedNamespaces().look)


def test_addresses_of_pods_are_seen_by_their_links_until_the_pods_go(laboratory: Laboratory) -> None:
    node = laboratory.nodes["node-a"]
    one, other = (laboratory.add_pod(node, name) for name in ("one", "other"))
    seen = look(laboratory)
    for pod in (one, other):
        (links,) = {seen[address] for address in pod.addresses}
        assert len(links) == 1
    assert seen[one.ipv4].isdisjoint(seen[other.ipv4])
    assert seen.keys().isdisjoint(node.addresses)

    laboratory.remove_pod(one)
    assert look(laboratory).keys().isdisjoint(one.addresses)
    later = laboratory.add_pod(node, "later", one.addresses)
    assert look(laboratory)[later.ipv4].isdisjoint(seen[one.ipv4])
    for pod in (other, later):
        laboratory.remove_pod(pod)


def test_an_address_that_is_taken_from_an_interface_is_gone(laboratory: Laboratory) -> None:
    pod = laboratory.add_pod(laboratory.nodes["node-a"], "changing")
    extra: Address = type(pod.ipv4)(int(pod.ipv4) + 100)
    with links_of(pod.namespace) as links:
        links.add_address("lo", extra, 32)
    assert look(laboratory)[extra] == look(laboratory)[pod.ipv4]
    laboratory.remove_pod(pod)
    assert extra not in look(laboratory)
