"""Who is on a node, as the kernel knows it: the addresses in the namespaces of pods, on every pod network."""

import asyncio
import subprocess
from collections.abc import Iterator

import pytest

from compilers.model.words import Address
from policy_controller.enforcer import link_news
from policy_controller.enforcer.link_news import follow_links
from policy_controller.enforcer.residence import LinkedNamespaces, Residents
from policy_controller.enforcer.tests.operator_double import DEADLINE
from policy_controller.testing.laboratory import Laboratory, NetworkKind, inside
from policy_controller.testing.laboratory.links import links_of

pytestmark = pytest.mark.packets
NET_ADMIN = 12


@pytest.fixture(scope="module", params=NetworkKind, ids=lambda kind: kind.value)
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    with Laboratory(network=request.param) as made:
        made.add_node("node-a")
        yield made


def look(laboratory: Laboratory) -> Residents:
    see = LinkedNamespaces(laboratory.pod_interfaces).look
    return laboratory.run_in(laboratory.nodes["node-a"].namespace, see)


def test_addresses_of_pods_are_seen_by_their_links_until_the_pods_go(laboratory: Laboratory) -> None:
    node = laboratory.nodes["node-a"]
    one, other = (laboratory.add_pod(node, name) for name in ("one", "other"))
    seen = look(laboratory)
    ways = [{seen.links[address] for address in pod.addresses} for pod in (one, other)]
    assert [len(way) for way in ways] == [1, 1]
    # The node's own link to the others leads to another namespace as well, and to no pod.
    assert sorted(seen.pods) == sorted(link for way in ways for links in way for link in links)
    assert seen.links.keys().isdisjoint(node.addresses)

    laboratory.remove_pod(one)
    assert look(laboratory).links.keys().isdisjoint(one.addresses)
    later = laboratory.add_pod(node, "later", one.addresses)
    assert look(laboratory).links[later.ipv4].isdisjoint(seen.links[one.ipv4])
    for pod in (other, later):
        laboratory.remove_pod(pod)


def test_an_address_that_is_taken_from_an_interface_is_gone(laboratory: Laboratory) -> None:
    pod = laboratory.add_pod(laboratory.nodes["node-a"], "changing")
    extra: Address = type(pod.ipv4)(int(pod.ipv4) + 100)
    with links_of(pod.namespace) as links:
        links.add_address("lo", extra, 32)
    assert look(laboratory).links[extra] == look(laboratory).links[pod.ipv4]
    laboratory.remove_pod(pod)
    assert extra not in look(laboratory).links


def flip(namespace: str) -> None:
    """The pod takes its own link down, and up again."""
    with inside(namespace):
        for state in ("down", "up"):
            subprocess.run(("ip", "link", "set", "eth0", state), check=True)  # noqa: S603, S607 - a fixed program


async def test_links_of_pods_that_come_and_go_are_news_and_links_that_go_down_are_not(
    laboratory: Laboratory,
) -> None:
    node = laboratory.nodes["node-a"]
    news = asyncio.Event()
    with inside(node.namespace):
        following = asyncio.create_task(follow_links(news.set))
        await asyncio.sleep(0)
    pod = await asyncio.to_thread(laboratory.add_pod, node, "news")
    await asyncio.wait_for(news.wait(), DEADLINE)
    news.clear()
    await asyncio.to_thread(flip, pod.namespace)
    await asyncio.sleep(0.1)
    assert not news.is_set()
    await asyncio.to_thread(laboratory.remove_pod, pod)
    await asyncio.wait_for(news.wait(), DEADLINE)
    following.cancel()


async def test_news_that_cannot_be_read_ends_the_listening_with_why(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that is dead and says nothing would leave new pods unknown."""
    node = laboratory.nodes["node-a"]

    def unreadable(_received: bytes, _held: dict[int, bytes]) -> bool:
        raise ValueError("unreadable")

    monkeypatch.setattr(link_news, "_differs", unreadable)
    with inside(node.namespace):
        following = asyncio.create_task(follow_links(asyncio.Event().set))
        await asyncio.sleep(0)
    pod = await asyncio.to_thread(laboratory.add_pod, node, "unreadable")
    with pytest.raises(ValueError, match="unreadable"):
        await asyncio.wait_for(following, DEADLINE)
    await asyncio.to_thread(laboratory.remove_pod, pod)
