"""When rule sets are compiled and for whom, by a fake clock."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from compilers.compile import Compiled, Compiler
from compilers.compile.room import CLASS
from compilers.ruleset.delta import apply
from compilers.ruleset.digest import digest_of
from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller import compile_loop as module
from policy_controller.controller.compile_loop import LONGEST_WAIT_SECONDS, RETRY_SECONDS, CompileLoop
from policy_controller.controller.kinds import Kind
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStream, NodeStreams
from policy_controller.controller.tests.objects import namespace, pod, policy
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.messages import Ack, DeltaMessage, SnapshotMessage

DEBOUNCE = 0.02


@dataclass
class Lab:
    store: Store = field(default_factory=Store)
    streams: NodeStreams = field(default_factory=NodeStreams)
    clock: FakeClock = field(default_factory=FakeClock)
    rounds: list[float] = field(default_factory=list)
    synced: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.loop = CompileLoop(self.store, self.streams, self.clock, DEBOUNCE)
        self.loop.subscribe(self.rounds.append)
        self.store.subscribe(self.loop.wake)
        self.streams.subscribe(self.loop.wake)
        self.task = asyncio.create_task(self.loop.run(self.synced))

    async def round(self) -> None:
        """Let the debounce pass and the round that follows end."""
        count = len(self.rounds) + 1
        await self.clock.advance(DEBOUNCE)
        await eventually(lambda: len(self.rounds) == count)

    def put(self, kind: Kind, tree: object) -> None:
        self.store.put(kind, tree)

    def sent(self, stream: NodeStream) -> RuleSet:
        """What the node's session would send first."""
        message = stream.session.next(self.clock.now())
        assert isinstance(message, SnapshotMessage)
        return message.rule_set


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    made.put(Kind.NAMESPACE, namespace("shop", version=1))
    made.put(Kind.POD, pod("web", address="10.0.0.1", version=2))
    yield made
    made.task.cancel()


async def test_nothing_is_compiled_before_the_whole_cluster_is_known(lab: Lab) -> None:
    lab.streams.open("node-a")
    await lab.clock.advance(10.0)
    assert lab.rounds == []
    assert lab.loop.revision is None
    lab.synced.set()
    await lab.round()
    assert lab.loop.revision == lab.store.revision


async def test_changes_in_a_row_are_compiled_together(lab: Lab) -> None:
    lab.synced.set()
    await lab.round()
    stream = lab.streams.open("node-a")
    for version in range(10, 15):
        lab.put(Kind.POLICY, policy(f"deny-{version}", version=version))
        await lab.clock.advance(DEBOUNCE * 0.9)
    assert len(lab.rounds) == 1
    await lab.round()
    assert lab.sent(stream) == Compiler(lab.store.cluster()).node("node-a")
    assert len(lab.rounds) == 2


async def test_changes_without_a_pause_are_compiled_after_the_longest_wait(lab: Lab) -> None:
    lab.synced.set()
    await lab.round()
    version = 10
    until = lab.clock.now() + LONGEST_WAIT_SECONDS
    while lab.clock.now() < until:
        assert len(lab.rounds) == 1
        version += 1
        lab.put(Kind.POLICY, policy("deny", version=version, uid=f"uid-{version}"))
        await lab.clock.advance(DEBOUNCE * 0.9)
    await eventually(lambda: len(lab.rounds) == 2)


async def test_only_connected_nodes_are_compiled_and_one_that_comes_is_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    class Counting(Compiler):
        def compiled(self, name: str) -> Compiled:
            compiled.append(name)
            return super().compiled(name)

    monkeypatch.setattr(module, "Compiler", Counting)
    lab.streams.open("node-a")
    lab.synced.set()
    await lab.round()
    lab.streams.open("node-b")
    await lab.round()
    assert compiled == ["node-a", "node-b"]


async def test_a_later_version_without_a_change_reaches_sessions_without_compiling(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = lab.streams.open("node-a")
    lab.synced.set()
    await lab.round()
    monkeypatch.setattr(module, "Compiler", None)
    lab.put(Kind.POD, pod("web", address="10.0.0.1", version=99))
    await lab.round()
    message = stream.session.next(lab.clock.now())
    assert message is not None
    assert message.stands.pods == 99
    assert not lab.loop.failing


async def test_a_node_that_does_not_compile_keeps_the_others_served(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Compiler):
        def compiled(self, name: str) -> Compiled:
            if name == "node-a":
                raise ZeroDivisionError
            return super().compiled(name)

    stream_a, stream_b = lab.streams.open("node-a"), lab.streams.open("node-b")
    monkeypatch.setattr(module, "Compiler", Failing)
    lab.synced.set()
    await lab.round()
    assert lab.sent(stream_b) == Compiler(lab.store.cluster()).node("node-b")
    assert stream_a.session.next(lab.clock.now()) is None
    assert lab.loop.failing

    monkeypatch.undo()
    await lab.clock.advance(RETRY_SECONDS)
    await lab.round()
    assert lab.loop.failing, "the compiler of this state is kept, and with it what is wrong"
    lab.put(Kind.POLICY, policy("deny", version=9))
    await lab.round()
    assert not lab.loop.failing
    assert lab.sent(stream_a) == Compiler(lab.store.cluster()).node("node-a")


async def test_a_state_that_does_not_compile_leaves_what_was_desired(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = lab.streams.open("node-a")
    lab.synced.set()
    await lab.round()
    first = lab.sent(stream)
    stream.session.acked(Ack(1, digest_of(first)), lab.clock.now())

    def fails(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "Compiler", fails)
    lab.put(Kind.POLICY, policy("deny", version=9))
    await lab.round()
    assert lab.loop.failing
    assert stream.session.next(lab.clock.now()) is None

    monkeypatch.undo()
    await lab.clock.advance(RETRY_SECONDS)
    await lab.round()
    assert not lab.loop.failing
    message = stream.session.next(lab.clock.now())
    assert isinstance(message, DeltaMessage)
    assert apply(message.delta, first) == Compiler(lab.store.cluster()).node("node-a")


async def test_an_address_conflict_is_logged_once_while_it_lasts(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.put(Kind.POD, pod("other", address="10.0.0.1", version=3))
    lab.synced.set()
    for version in range(10, 13):
        await lab.round()
        lab.put(Kind.POLICY, policy("deny", version=version, uid=f"uid-{version}"))
    assert [record.getMessage() for record in caplog.records if "10.0.0.1" in record.getMessage()] == [
        "10.0.0.1 is reported by 2 pods; it counts as Pod shop/web alone"
    ]


async def test_a_policy_that_there_is_no_room_for_is_told_and_the_others_are_served(lab: Lab) -> None:
    stream = lab.streams.open("node-a")
    peers = [{"podSelector": {"matchLabels": {"app": f"a{number}"}}} for number in range(CLASS.sets + 1)]
    lab.put(Kind.POLICY, policy("large", {"podSelector": {}, "ingress": [{"from": peers}]}, version=9))
    lab.put(Kind.POD, pod("other", namespace="ops", address="10.0.0.7", version=10))
    lab.put(Kind.POLICY, policy("good", namespace="ops", version=11))
    lab.synced.set()
    await lab.round()
    sent = lab.sent(stream)
    assert {ref.name for part in sent.classes.values() for ref in part.policies} >= {"good", "large"}
    (fault,) = lab.loop.without_room
    assert fault.object.name == "large"
