"""Addresses that change hands: every node hears of them, whatever happens to its stream or to the compiler."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address

import pytest

from compilers.compile import Compiled, Compiler
from compilers.model.words import Address
from compilers.ruleset.digest import digest_of
from policy_controller.controller import compile_loop as module
from policy_controller.controller.kinds import Kind
from policy_controller.controller.streams import REMEMBERED_ADDRESSES, EndedAddresses, NodeStream
from policy_controller.controller.tests.objects import namespace, pod, policy
from policy_controller.controller.tests.test_compile_loop import Lab
from policy_controller.wire.messages import Ack, OperatorMessage, SnapshotMessage

MOVED, LEFT = "10.0.0.1", "10.0.0.2"


def addresses(*texts: str) -> frozenset[Address]:
    return frozenset(map(ip_address, texts))


class Nodes(Lab):
    """A compile loop whose nodes take what they are sent."""

    def put_pod(self, name: str, version: int, address: str = MOVED, app: str = "") -> None:
        labels = {"app": app}
        self.store.put(Kind.POD, pod(name, address=address, version=version, labels=labels))

    def remove(self, name: str, version: int) -> None:
        self.store.remove(Kind.POD, pod(name, version=version))

    def heard(self, stream: NodeStream) -> OperatorMessage | None:
        """What the node is sent now; it takes it."""
        message = stream.session.next(self.clock.now())
        if message is not None:
            rule_set = Compiler(self.store.cluster()).node(stream.session.node)
            stream.session.acked(Ack(message.generation, digest_of(rule_set)), self.clock.now())
        return message

    def ended(self, stream: NodeStream) -> frozenset[Address]:
        message = self.heard(stream)
        return message.ended if message is not None else frozenset()


@pytest.fixture
async def lab() -> AsyncIterator[Nodes]:
    made = Nodes()
    made.synced.set()
    made.store.put(Kind.NAMESPACE, namespace("shop", version=1))
    made.put_pod("web", 2)
    made.put_pod("db", 3, LEFT)
    await made.round()
    yield made
    made.task.cancel()


async def connected(lab: Nodes, name: str, pods: int = 0) -> NodeStream:
    stream = lab.streams.open(name, pods)
    await lab.round()
    return stream


async def test_every_node_hears_of_an_address_that_changed_hands(lab: Nodes) -> None:
    # node-b has no pod and no policy: it may hold connections of the address all the same.
    streams = [await connected(lab, name) for name in ("node-a", "node-b")]
    assert [lab.ended(stream) for stream in streams] == [frozenset()] * 2

    lab.remove("web", 10)
    lab.put_pod("later", 11)
    await lab.round()
    assert [lab.ended(stream) for stream in streams] == [addresses(MOVED)] * 2

    lab.put_pod("later", 12, app="later")
    lab.store.put(Kind.POLICY, policy("deny", version=13))
    await lab.round()
    assert [lab.ended(stream) for stream in streams] == [frozenset()] * 2


async def test_what_ended_while_a_node_was_away_it_hears_with_its_first_snapshot(lab: Nodes) -> None:
    stream = await connected(lab, "node-a")
    lab.heard(stream)
    lab.streams.close(stream)
    before = lab.store.stands().pods
    lab.remove("db", 10)
    await lab.round()
    between = lab.store.stands().pods
    lab.remove("web", 11)
    await lab.round()

    for pods, expected in (
        (before, addresses(MOVED, LEFT)),
        (between, addresses(MOVED)),
        (lab.store.stands().pods, frozenset()),
        (0, frozenset()),
    ):
        message = lab.heard(await connected(lab, "node-a", pods))
        assert isinstance(message, SnapshotMessage)
        assert message.ended == expected


async def test_a_node_that_does_not_compile_hears_of_it_with_the_state_that_does(
    lab: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await connected(lab, "node-a")
    lab.heard(stream)

    class Failing(Compiler):
        def compiled(self, name: str) -> Compiled:
            raise ZeroDivisionError

    monkeypatch.setattr(module, "Compiler", Failing)
    lab.remove("web", 10)
    await lab.round()
    # Under the rules it has, new connections of the address could begin again.
    assert lab.heard(stream) is None

    monkeypatch.undo()
    lab.remove("db", 11)
    await lab.round()
    assert lab.ended(stream) == addresses(MOVED, LEFT)


async def test_a_state_that_does_not_compile_hides_nothing_that_ended(
    lab: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await connected(lab, "node-a")
    lab.heard(stream)
    monkeypatch.setattr(module, "Compiler", None)
    lab.remove("web", 10)
    await lab.round()
    monkeypatch.undo()
    lab.store.put(Kind.POLICY, policy("deny", version=11))
    await lab.round()
    assert lab.ended(stream) == addresses(MOVED)


def test_the_latest_ended_addresses_are_remembered_and_no_more_than_stated() -> None:
    ended = EndedAddresses()
    size = REMEMBERED_ADDRESSES // 4
    for version in range(1, 10):
        ended.note(version, frozenset(IPv4Address(version * size + number) for number in range(size)))
    assert len(ended.since(1)) == REMEMBERED_ADDRESSES
    assert ended.since(8) == frozenset(IPv4Address(9 * size + number) for number in range(size))
    assert ended.since(9) == frozenset()
