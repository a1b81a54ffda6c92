"""Ends of two versions, the newer one played by messages that nobody knows yet: each enforces on, and no stream is lost for it.

docs/decisions/version-skew.md says what may be passed over. Real TLS, gRPC, operator and enforcer; the kernel is a fake.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
import pytest
from google.protobuf.message import Message

from compilers.nftables.render import render
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from policy_controller.clock import SystemClock
from policy_controller.controller import server as server_module
from policy_controller.controller.sessions import RETRY_SECONDS, Desired
from policy_controller.controller.tests.scripted_node import ScriptedNode, open_stream
from policy_controller.controller.tests.serving import Served
from policy_controller.controller.tests.serving import serving as operator_serving
from policy_controller.controller.tests.waiting import GLANCE_SECONDS, PATIENCE_SECONDS, eventually
from policy_controller.enforcer import stream as stream_module
from policy_controller.enforcer.credentials import LOOK_SECONDS
from policy_controller.enforcer.stream import LONGEST_WAIT
from policy_controller.enforcer.tests.node import BASE, Node, node
from policy_controller.enforcer.tests.operator_double import Site, reserved, serving
from policy_controller.enforcer.tests.states import NODE, WEB_CHANGED, WEB_ISOLATED, untold
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import HostPort
from policy_controller.wire.convert import encode_node, encode_operator
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    Hello,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    SnapshotMessage,
    Stands,
)

STANDS: Final = Stands(1, 1, 1)
FIRST: Final = SnapshotMessage(1, STANDS, WEB_ISOLATED)
AFTER: Final = digest_of(WEB_CHANGED)
SECOND: Final = DeltaMessage(1, 2, STANDS, AFTER, difference(WEB_ISOLATED, WEB_CHANGED))
UNKNOWN: Final = b"\xf8\x7f\x01"
"""Field 2047, a number: no version has it."""
UNKNOWN_KIND: Final = b"\xfa\x7f\x02\x08\x01"
"""The same field with a message in it."""
HOUR: Final = 3_600.0
SOON: Final = 0.5


def add(part: Message) -> None:
    part.MergeFromString(UNKNOWN)


def say_version(message: pb.OperatorMessage) -> None:
    message.protocol_version = 2


def another_peer(message: pb.OperatorMessage) -> None:
    """A kind of peer that an enforcer of this version has no word for: what it can read of the rule names none."""
    rule = message.delta.added_classes[0].rules[0]
    rule.ClearField("peer_set")
    add(rule)


def another_kind(message: pb.OperatorMessage) -> None:
    message.ClearField("delta")
    message.MergeFromString(UNKNOWN_KIND)


def another_number(message: pb.OperatorMessage, field: str) -> None:
    """An enum's value that came later; protobuf keeps it as a number."""
    policy_class = message.delta.added_classes[0]
    holders: dict[str, Message] = {
        "direction": policy_class,
        "kind": policy_class.policies[0],
        "protocol": policy_class.rules[0].span,
    }
    setattr(holders[field], field, 99)


NEWER: Final[dict[str, tuple[Callable[[pb.OperatorMessage], None], str]]] = {
    "a version": (say_version, "protocol_version"),
    "a field of the message": (add, "message"),
    "a field of the delta": (lambda it: add(it.delta), "delta"),
    "a field of a rule": (
        lambda it: add(it.delta.added_classes[0].rules[0]),
        "delta.added_classes[0].rules[0]",
    ),
    "a field of a pod": (lambda it: add(it.delta.put_pods[0]), "delta.put_pods[0]"),
    "a kind of peer": (another_peer, "delta.added_classes[0].rules[0]"),
    "a direction": (lambda it: another_number(it, "direction"), "added_classes[0].direction"),
    "a protocol": (lambda it: another_number(it, "protocol"), "added_classes[0].rules[0].span.protocol"),
    "a kind of policy": (lambda it: another_number(it, "kind"), "added_classes[0].policies[0].kind"),
    "a kind of message": (another_kind, "message"),
}


@pytest.mark.parametrize(("make_newer", "named"), NEWER.values(), ids=NEWER.keys())
async def test_what_only_a_newer_operator_knows_is_refused_by_name_and_what_is_in_force_stays(
    tmp_path: Path, make_newer: Callable[[pb.OperatorMessage], None], named: str
) -> None:
    with reserved() as where:
        site = Site(tmp_path, where)
        async with serving(site) as operator, node(site) as one:
            stream, _ = await operator.next_stream()
            await stream.say(FIRST)
            newer = encode_operator(SECOND)
            make_newer(newer)
            answer = await stream.say_raw(newer)
            assert isinstance(answer, Nack)
            assert (answer.cause, answer.object) == (NackCause.INVALID, named)
            assert answer.generation_in_force == 1
            # Nobody knows what the operator wanted to say, of unknown pods neither.
            assert one.tables() == untold(WEB_ISOLATED, BASE)
            # The stream goes on, and what is legal is in force.
            assert await stream.say(SnapshotMessage(3, STANDS, WEB_CHANGED)) == Ack(3, AFTER)
            assert one.tables() == render(WEB_CHANGED, BASE)


@asynccontextmanager
async def both(folder: Path, clock: SystemClock) -> AsyncIterator[tuple[Served, Node]]:
    """An operator that goes by a fake clock, and an enforcer that follows it."""
    async with operator_serving() as served:
        site = Site(folder, HostPort("127.0.0.1", served.server.port))
        site.give_ca(served.authority.pem)
        site.give_token(served.reviews.mint(NODE))
        async with node(site, clock) as one:
            await served.connected(NODE)
            yield served, one


async def test_an_operator_that_is_not_understood_asks_ever_more_rarely_on_one_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    async with both(tmp_path, SystemClock()) as (served, one):
        served.streams.desire(NODE, Desired.of(WEB_ISOLATED, STANDS, 1))
        await eventually(lambda: served.streams.statuses()[NODE].current)
        said = 0

        def newer(value: OperatorMessage) -> pb.OperatorMessage:
            nonlocal said
            said += 1
            message = encode_operator(value)
            add(message)
            return message

        monkeypatch.setattr(server_module, "encode_operator", newer)
        served.streams.desire(NODE, Desired.of(WEB_CHANGED, STANDS, 2))
        # A delta, a snapshot at once, and then one after each pause.
        await eventually(lambda: served.server.nacks["invalid"] == said == 2)
        while served.clock.now() < HOUR:
            pause = RETRY_SECONDS[min(said - 2, len(RETRY_SECONDS) - 1)]
            await served.clock.advance(pause - SOON)
            assert served.server.nacks["invalid"] == said
            await refused(served, said + 1)
        record_property("fake seconds with an operator that is not understood", HOUR)
        record_property("messages that were refused meanwhile", said)
        assert served.server.opened == 1
        assert one.tables() == untold(WEB_ISOLATED, BASE)
        # It is replaced by one that is understood.
        monkeypatch.setattr(server_module, "encode_operator", encode_operator)
        await served.clock.advance(RETRY_SECONDS[-1])
        await eventually(lambda: served.streams.statuses()[NODE].current)
        assert one.tables() == render(WEB_CHANGED, BASE)


async def opened(served: Served, streams: int) -> None:
    """Return when so many streams have been opened."""
    await eventually(lambda: served.server.opened >= streams)


async def refused(served: Served, messages: int) -> None:
    """Return when the node has refused so many messages, the next of which is due; time passes slowly meanwhile."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while served.server.nacks["invalid"] < messages:
            await served.clock.advance(SOON)
            await asyncio.sleep(20 * GLANCE_SECONDS)


class Noting(SystemClock):
    """Notes how long was to be waited between streams, and waits for files only."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds == LOOK_SECONDS:
            await super().sleep(seconds)
            return
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def test_an_enforcer_that_is_not_understood_comes_back_ever_more_rarely_and_enforces_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(value: NodeMessage) -> pb.NodeMessage:
        message = encode_node(value)
        if isinstance(value, Ack):
            add(message.ack)
        return message

    monkeypatch.setattr(stream_module, "encode_node", newer)
    clock = Noting()
    async with both(tmp_path, clock) as (served, one):
        for streams in range(1, 13):
            await opened(served, streams)
            await served.connected(NODE)
            served.streams.desire(NODE, Desired.of(WEB_ISOLATED, STANDS, 1))
        assert one.tables() is not None
        assert one.tables() in (render(WEB_ISOLATED, BASE), untold(WEB_ISOLATED, BASE))
        assert served.server.ended["INVALID_ARGUMENT"] > 5
    assert max(clock.waits) >= LONGEST_WAIT / 2


async def test_a_report_of_a_kind_that_a_newer_enforcer_has_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = pb.NodeMessage.FromString(UNKNOWN_KIND)
    async with (
        operator_serving() as served,
        open_stream(served.door, [encode_node(Hello("node-a", capabilities=("reports-moods",)))]) as stream,
    ):
        await served.connected("node-a")
        one = ScriptedNode("node-a", stream)
        await stream.write(report)
        served.streams.desire("node-a", Desired.of(WEB_ISOLATED, STANDS, 1))
        await one.apply()
        await stream.write(report)
        served.streams.desire("node-a", Desired.of(WEB_CHANGED, STANDS, 2))
        assert isinstance(await one.apply(), DeltaMessage)
        await eventually(lambda: served.streams.statuses()["node-a"].current)
        assert served.server.ended == {}
    assert "node node-a says what this operator does not know" in caplog.text


def unknown_in_ack() -> pb.NodeMessage:
    message = encode_node(Ack(1, digest_of(WEB_ISOLATED)))
    add(message.ack)
    return message


def unknown_beside_ack() -> pb.NodeMessage:
    message = encode_node(Ack(1, digest_of(WEB_ISOLATED)))
    add(message)
    return message


def unknown_cause() -> pb.NodeMessage:
    message = encode_node(Nack(1, NackCause.KERNEL, "table", "is busy", 0))
    message.nack.MergeFromString(b"\x10\x63")
    return message


@pytest.mark.parametrize(
    "answer",
    [unknown_in_ack(), unknown_beside_ack(), unknown_cause()],
    ids=["a field of an ack", "a field beside an ack", "a cause"],
)
async def test_an_answer_that_only_a_newer_enforcer_knows_counts_for_nothing(answer: pb.NodeMessage) -> None:
    async with (
        operator_serving() as served,
        open_stream(served.door, [encode_node(Hello("node-a"))]) as stream,
    ):
        await served.connected("node-a")
        served.streams.desire("node-a", Desired.of(WEB_ISOLATED, STANDS, 1))
        one = ScriptedNode("node-a", stream)
        await one.hear()
        await stream.write(answer)
        error = await one.ending()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert served.streams.nodes == ()
