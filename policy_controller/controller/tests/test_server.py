"""The servicer over real TLS: what is sent to whom, and how streams that break a rule end."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import grpc
import grpc.aio
import pytest

from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import PeerSet
from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller.server import HELLO_SECONDS
from policy_controller.controller.sessions import ACK_SECONDS, RETRY_SECONDS, Desired
from policy_controller.controller.tests.scripted_node import ScriptedNode, node, open_stream
from policy_controller.controller.tests.serving import Served, serving
from policy_controller.controller.tests.test_sessions import desired
from policy_controller.controller.tests.waiting import eventually
from policy_controller.wire import channel
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import encode_node
from policy_controller.wire.messages import Ack, DeltaMessage, Hello, InForce, SnapshotMessage, Stands

METHOD = "/policy_controller.enforcement.v1.Enforcement/Enforce"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


async def test_a_node_gets_a_snapshot_and_then_deltas(served: Served) -> None:
    async with node(served.door, "node-a") as one:
        await served.connected("node-a")
        served.streams.desire("node-a", desired(1))
        assert isinstance(await one.apply(), SnapshotMessage)
        served.streams.desire("node-a", desired(2))
        assert isinstance(await one.apply(), DeltaMessage)
        assert one.rule_set == desired(2).rule_set
        await eventually(lambda: served.streams.statuses()["node-a"].current)


async def test_a_node_that_comes_back_hears_what_ended_after_what_it_has_in_force(served: Served) -> None:
    earlier, later = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
    served.streams.note_ended(6, frozenset({earlier}))
    served.streams.note_ended(7, frozenset({later}))
    hello = Hello("node-a", InForce(3, 0, Stands(pods=6)))
    async with open_stream(served.door, [encode_node(hello)]) as stream:
        await served.connected("node-a")
        served.streams.desire("node-a", desired(1))
        message = await ScriptedNode("node-a", stream).hear()
        assert isinstance(message, SnapshotMessage)
        assert message.ended == {later}


async def test_a_second_stream_of_a_node_replaces_the_first(served: Served) -> None:
    async with node(served.door, "node-a") as first:
        await served.connected("node-a")
        served.streams.desire("node-a", desired(1))
        await first.apply()
        async with node(served.door, "node-a") as second:
            error = await first.ending()
            assert error.code() is grpc.StatusCode.ABORTED
            served.streams.desire("node-a", desired(1))
            assert isinstance(await second.apply(), SnapshotMessage)
            await eventually(lambda: served.streams.statuses()["node-a"].acked == 1)
    await eventually(lambda: served.streams.nodes == ())


async def test_a_node_that_does_not_answer_is_dropped_and_gets_a_snapshot_when_it_returns(
    served: Served,
) -> None:
    async with node(served.door, "node-a") as slow, node(served.door, "node-b") as other:
        await served.connected("node-a")
        await served.connected("node-b")
        served.streams.desire("node-a", desired(1))
        served.streams.desire("node-b", desired(1))
        await slow.hear()
        await other.apply()
        await eventually(lambda: served.streams.statuses()["node-b"].current)
        await served.clock.advance(ACK_SECONDS)
        error = await slow.ending()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert served.streams.nodes == ("node-b",)
    async with node(served.door, "node-a") as again:
        await served.connected("node-a")
        served.streams.desire("node-a", desired(2))
        assert isinstance(await again.apply(), SnapshotMessage)


async def test_a_refused_snapshot_is_sent_again_after_the_pause(served: Served) -> None:
    async with node(served.door, "node-a") as one:
        await served.connected("node-a")
        served.streams.desire("node-a", desired(1))
        await one.refuse(await one.hear())
        await eventually(lambda: served.streams.statuses()["node-a"].nacks == 1)
        await served.clock.advance(RETRY_SECONDS[0])
        message = await one.apply()
        assert isinstance(message, SnapshotMessage)
        assert message.generation == 2
        assert served.server.nacks == {"kernel": 1}
        nack = served.streams.statuses()["node-a"].last_nack
        assert nack is not None
        assert nack.reason == "Device or resource busy"


ILLEGAL_STREAMS: list[tuple[str, list[pb.NodeMessage], grpc.StatusCode, str]] = [
    (
        "another protocol version",
        [pb.NodeMessage(hello=pb.Hello(protocol_version=2, node="node-a"))],
        grpc.StatusCode.FAILED_PRECONDITION,
        "protocol version 2",
    ),
    (
        "a name that is no node's",
        [pb.NodeMessage(hello=pb.Hello(protocol_version=1, node="node a\n"))],
        grpc.StatusCode.INVALID_ARGUMENT,
        "hello.node",
    ),
    ("no kind of message", [pb.NodeMessage()], grpc.StatusCode.INVALID_ARGUMENT, "message"),
    ("an answer before hello", [encode_node(Ack(1, 0))], grpc.StatusCode.FAILED_PRECONDITION, "hello"),
    (
        "hello twice",
        [encode_node(Hello("node-a")), encode_node(Hello("node-a"))],
        grpc.StatusCode.FAILED_PRECONDITION,
        "once",
    ),
    (
        "an answer to nothing",
        [encode_node(Hello("node-a")), encode_node(Ack(1, 0))],
        grpc.StatusCode.FAILED_PRECONDITION,
        "generation 1",
    ),
]


@pytest.mark.parametrize(
    ("messages", "code", "word"),
    [row[1:] for row in ILLEGAL_STREAMS],
    ids=[row[0] for row in ILLEGAL_STREAMS],
)
async def test_a_stream_that_breaks_a_rule_is_ended_with_the_reason(
    served: Served, messages: list[pb.NodeMessage], code: grpc.StatusCode, word: str
) -> None:
    async with open_stream(served.door, messages) as stream:
        error = await ScriptedNode("node-a", stream).ending()
    assert error.code() is code
    assert word in (error.details() or "")
    await eventually(lambda: served.streams.nodes == ())
    assert served.server.ended == {code.name: 1}


@pytest.mark.parametrize("before", [[], [encode_node(Hello("node-a"))]], ids=["at first", "after hello"])
async def test_bytes_that_are_no_message_end_a_stream_with_one_line(
    served: Served, before: list[pb.NodeMessage], caplog: pytest.LogCaptureFixture
) -> None:
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        bearer = ((channel.AUTHORIZATION, channel.BEARER + served.door.token_of("node-a")),)
        stream: grpc.aio.StreamStreamCall[bytes, bytes] = connection.stream_stream(METHOD)(metadata=bearer)
        for message in before:
            await stream.write(message.SerializeToString())
        await stream.write(b"\xff\xff\xff")
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert served.server.ended == {"INVALID_ARGUMENT": 1}
    assert [record.exc_info for record in caplog.records] == [None]


async def test_a_message_that_no_node_needs_is_not_taken_in(served: Served) -> None:
    large = pb.Nack(reason="x" * channel.NODE_BYTES)
    async with open_stream(served.door, [encode_node(Hello("node-a")), pb.NodeMessage(nack=large)]) as stream:
        error = await ScriptedNode("node-a", stream).ending()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await eventually(lambda: served.streams.nodes == ())


async def test_a_stream_that_says_nothing_is_ended(served: Served) -> None:
    async with open_stream(served.door) as stream:
        ending = asyncio.create_task(ScriptedNode("node-a", stream).ending())
        await eventually(lambda: served.clock.sleepers > 0)
        await served.clock.advance(HELLO_SECONDS)
        error = await ending
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_node_that_does_not_read_is_dropped(served: Served) -> None:
    peers = frozenset(IPv4Address(number) for number in range(200_000))
    large = RuleSet.of("node-a", peer_sets=[PeerSet(content_name(NameKind.PEER_SET, ("large",)), peers)])
    async with node(served.door, "node-a"):
        await served.connected("node-a")
        served.streams.desire("node-a", Desired.of(large, Stands(), 1))
        await eventually(lambda: served.streams.statuses()["node-a"].sent == 1)
        # One waits for the next review of the token, one for the write.
        await eventually(lambda: served.clock.sleepers == 2)
        await served.clock.advance(ACK_SECONDS)
        await eventually(lambda: served.streams.nodes == ())
    assert served.server.ended == {"DEADLINE_EXCEEDED": 1}


async def test_a_node_that_leaves_is_forgotten(served: Served) -> None:
    async with node(served.door, "node-a"):
        await served.connected("node-a")
    await eventually(lambda: served.streams.nodes == ())


async def test_many_nodes_each_hear_only_their_own(served: Served) -> None:
    async def one(number: int) -> None:
        async with node(served.door, f"node-{number}") as mine:
            await served.connected(mine.name)
            served.streams.desire(mine.name, desired(number))
            await mine.apply()
            assert mine.rule_set == desired(number).rule_set

    await asyncio.gather(*(one(number) for number in range(20)))
