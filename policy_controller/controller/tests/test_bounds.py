"""Whoever has too much of something at the port of nodes: it is bounded, counted and told, and a node is served all the same."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from compilers.compile import Compiler
from compilers.compile.room import ROOMS, Room
from compilers.model.cluster import Cluster, Namespace, Pod
from compilers.model.policy import NetworkPolicy, Side
from compilers.model.selector import EVERYTHING
from compilers.model.words import Direction
from policy_controller.controller import sessions
from policy_controller.controller.bounds import PREFIX, Bound
from policy_controller.controller.crowd import Crowd, Peer, surplus
from policy_controller.controller.identity import patience, reviewer
from policy_controller.controller.identity.patience import MOST as PATIENT
from policy_controller.controller.identity.refusals import Reason, Unwelcome
from policy_controller.controller.identity.reviewer import Enforcers, Reviewer
from policy_controller.controller.server import STREAMS_AT_ONCE
from policy_controller.controller.settings import Settings
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.tests.scripted_node import ScriptedNode, node
from policy_controller.controller.tests.serving import Served, serving
from policy_controller.controller.tests.test_sessions import desired
from policy_controller.controller.tests.waiting import eventually
from policy_controller.hits import Hits
from policy_controller.testing.clock import FakeClock
from policy_controller.wire import channel
from policy_controller.wire.channel import AUTHORIZATION, BEARER
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub

MOST = 40
STREAMS = 8
"""On one connection."""
SIDES = {Direction.INGRESS: Side(())}


@contextmanager
def silent_crowd(served: Served, count: int, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections that never say anything."""
    address = ("127.0.0.1", served.server.port)
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(address, source_address=(source, 0)))
            for _ in range(count)
        ]


def open_ones(crowd: Sequence[socket.socket]) -> int:
    """How many of them the other end has not ended."""
    count = 0
    for one in crowd:
        one.setblocking(False)
        try:
            count += one.recv(1) != b""
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


def crowd_of(served: Served, most: int = MOST) -> Crowd:
    return Crowd(
        lambda: served.server.port, lambda: served.server.peers, most, served.clock, served.reviewer.hits
    )


async def test_of_too_many_connections_the_oldest_of_the_crowd_end_and_nodes_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served, node(served.door, "node-a") as one:
        await served.connected("node-a")
        crowd = crowd_of(served)
        with silent_crowd(served, 4 * MOST) as strangers, silent_crowd(served, 3, "127.0.0.2") as few:
            # When the last of them has been accepted, the first have.
            await eventually(lambda: crowd.look() > 0 or served.reviewer.hits.of(Bound.CONNECTIONS) > 0)
            await eventually(lambda: crowd.look() == 0 and open_ones(strangers) <= MOST)
            assert open_ones(few) == 3, "who has few is not made to pay"
            served.streams.desire("node-a", desired(1))
            await one.apply()
            async with node(served.door, "node-b"):
                await served.connected("node-b")
        hits = served.reviewer.hits.of(Bound.CONNECTIONS)
        assert 4 * MOST - MOST <= hits <= 4 * MOST
        assert any("have ended, the first of 127.0.0.1" in text for text in caplog.messages)
        assert served.streams.nodes[0] == "node-a"


SHARES: list[tuple[dict[str, int], int, dict[str, int]]] = [
    ({"a": 5}, 5, {"a": 5}),
    ({"a": 9}, 5, {"a": 5}),
    ({"a": 100, "b": 2, "c": 1}, 10, {"a": 7, "b": 2, "c": 1}),
    ({"a": 100, "b": 90, "c": 1}, 11, {"a": 5, "b": 5, "c": 1}),
    ({"a": 3, "b": 3, "c": 3}, 2, {}),
]


@pytest.mark.parametrize(("there", "most", "kept"), SHARES)
def test_whoever_holds_most_pays(there: dict[str, int], most: int, kept: dict[str, int]) -> None:
    since: dict[Peer, float] = {
        (address, port): float(port) for address, count in there.items() for port in range(count)
    }
    gone = surplus(since, most)
    left = sorted(since.keys() - set(gone))
    assert len(left) <= most
    assert gone == sorted(gone, key=lambda peer: since[peer])
    if kept:
        assert {address: sum(one == address for one, _ in left) for address in there} == kept
        # The youngest stay.
        assert all(port >= there[address] - kept[address] for address, port in left)
    else:
        assert len(left) == most


async def refused(served: Served, metadata: tuple[tuple[str, str], ...]) -> grpc.aio.AioRpcError:
    """How a stream with these headers ends."""
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        stranger = ScriptedNode("node-a", EnforcementStub(connection).Enforce(metadata=metadata))
        return await stranger.ending()


def opened(served: Served, count: int) -> bool:
    return served.server.opened == count


async def check_served(served: Served, other: ScriptedNode) -> None:
    """A node that is connected is served."""
    served.streams.desire(other.name, desired(1))
    await other.apply()


async def test_a_node_that_opens_streams_without_end_is_refused_and_others_are_served() -> None:
    async with serving() as served, node(served.door, "node-b") as other:
        await served.connected("node-b")
        for number in range(int(STREAMS_AT_ONCE)):
            async with node(served.door, "node-a"):
                await eventually(partial(opened, served, number + 2))
        error = await refused(served, ((AUTHORIZATION, BEARER + served.reviews.mint("node-a")),))
        assert (error.code(), error.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "too-many: node node-a opens more than 1 streams a second",
        )
        assert served.reviewer.hits.of(Bound.STREAMS) == 1
        await check_served(served, other)


@pytest.mark.parametrize(
    ("size", "code", "hits"),
    [
        (channel.HEADER_BYTES, grpc.StatusCode.UNAUTHENTICATED, 1),
        (2 * channel.MOST_HEADER_BYTES, grpc.StatusCode.RESOURCE_EXHAUSTED, 0),
    ],
    ids=["more than is read", "more than arrives"],
)
async def test_headers_that_are_too_long_are_refused(size: int, code: grpc.StatusCode, hits: int) -> None:
    async with serving() as served, node(served.door, "node-b") as other:
        await served.connected("node-b")
        token = served.reviews.mint("node-a")
        error = await refused(served, ((AUTHORIZATION, BEARER + token), ("x-more", "a" * size)))
        assert error.code() is code
        assert served.reviewer.hits.of(Bound.HEADERS) == hits
        await check_served(served, other)


async def test_the_longest_token_gets_through() -> None:
    async with serving() as served:
        error = await refused(served, ((AUTHORIZATION, BEARER + "a" * 16_384),))
        assert (error.details() or "").startswith(Reason.INVALID_TOKEN.value)


class SlowReviews:
    """An API server that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()

    async def review_token(self, token: str, audience: str) -> object:
        self.asked += 1
        await self.let.wait()
        return {"status": {"authenticated": False, "error": f"{audience} {len(token)}"}}


async def test_so_many_tokens_are_checked_at_a_time_so_many_wait_and_more_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reviewer, "MOST_WAITING", 5)
    reviews, now = SlowReviews(), datetime.now(UTC)
    one = Reviewer(
        reviews, Store(), Enforcers("policy-controller", "policy-enforcer"), FakeClock(), lambda: now, 3
    )
    asking = [
        asyncio.create_task(one.identify(f"a.b.{number}", f"ipv4:10.0.0.{number}")) for number in range(8)
    ]
    await eventually(lambda: reviews.asked == 3)
    with pytest.raises(Unwelcome, match="too-many: 8 tokens are being checked or wait for it"):
        await one.identify("a.b.c", "ipv4:10.0.1.1")
    assert (reviews.asked, one.hits.of(Bound.TOKENS)) == (3, 1)
    reviews.let.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unwelcome] * 8
    # There is room again.
    with pytest.raises(Unwelcome, match="invalid-token"):
        await one.identify("a.b.c", "ipv4:10.0.1.1")
    assert one.hits.of(Bound.TOKENS) == 1


async def test_an_address_that_has_bad_tokens_checked_is_counted() -> None:
    async with serving() as served:
        for number in range(MOST + 1):
            await refused(served, ((AUTHORIZATION, f"{BEARER}bad.token.{number}"),))
        assert served.reviewer.hits.of(Bound.TOKENS_OF_ADDRESS) == MOST + 1 - PATIENT


def test_what_is_remembered_of_addresses_is_bounded_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "MOST_NOTED", 100)
    kept = patience.Patience(FakeClock())
    for _ in range(PATIENT):
        kept.note("ipv4:10.0.0.1")
    assert kept.is_exhausted("ipv4:10.0.0.1")
    for number in range(200):
        kept.note(f"ipv6:[fd00::{number}]")
    assert (kept.forgotten, len(kept._noted), len(kept._counts)) == (130, 100, 100)
    assert not kept.is_exhausted("ipv4:10.0.0.1")


async def test_what_is_remembered_of_tokens_is_bounded_and_the_oldest_is_asked_about_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reviewer, "MOST_REMEMBERED", 2)
    async with serving() as served:
        tokens = [served.reviews.mint(name) for name in ("node-a", "node-b", "node-c")]
        for token in (*tokens, tokens[2], tokens[0]):
            await served.reviewer.identify(token, "ipv4:10.0.0.1")
        assert served.reviews.asked == [*tokens, tokens[0]]
        assert served.reviewer.hits.of(Bound.REMEMBERED_TOKENS) == 2


async def test_a_connection_carries_so_many_streams_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served, node(served.door, "node-b") as other:
        await served.connected("node-b")
        async with channel.secure_connect(served.door.address, served.door.trust) as connection:
            metadata = ((AUTHORIZATION, BEARER + served.reviews.mint("node-a")),)
            calls = [EnforcementStub(connection).Enforce(metadata=metadata) for _ in range(STREAMS + 4)]
            await eventually(partial(opened, served, 1 + STREAMS))
            await check_served(served, other)
            assert opened(served, 1 + STREAMS)
            for call in calls:
                call.cancel()


def test_addresses_that_a_node_is_to_be_told_of_are_bounded_while_it_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MOST_ENDED", 10)
    streams = NodeStreams()
    streams.open("node-a")
    for number in range(5):
        streams.note_ended(number, frozenset(ip_address(number * 100 + each) for each in range(4)))
        streams.desire("node-a", desired(number))
    message = streams._streams["node-a"].session.next(0.0)
    assert message is not None
    # Four and four fit; with four more the first eight are forgotten; and so again.
    assert message.ended == {ip_address(400 + each) for each in range(4)}
    assert streams.ended_forgotten == 16


def test_settings_say_what_the_policies_of_a_node_and_of_a_pod_may_take_up() -> None:
    assert Settings().rooms == ROOMS
    rooms = Settings(
        max_pod_rules=2,
        max_node_policies=8,
        max_node_rules=6,
        max_node_sets=5,
        max_node_addresses=4,
        max_node_ranges=3,
    ).rooms
    assert rooms.of_node == Room(policies=8, rules=6, sets=5, elements=4, ranges=3)
    assert rooms.of_class == Room(policies=8, rules=2, sets=3, elements=2, ranges=2)
    one, other = (NetworkPolicy("a", name, f"uid-{name}", EVERYTHING, SIDES) for name in ("one", "other"))
    pod = Pod("a", "web", "uid-web", {}, "node-a", (ip_address("10.0.0.1"),))
    cluster = Cluster.of(namespaces=[Namespace("a", {})], pods=[pod], policies=[one, other], nodes=[])
    assert not Compiler(cluster, ROOMS).compiled("node-a").faults
    (fault,) = Compiler(cluster, Settings(max_pod_policies=1).rooms).compiled("node-a").faults
    assert "the 2 policies that select the same pods have more than 1 policies" in fault.reason


def test_every_bound_is_in_the_metrics() -> None:
    hits = Hits(PREFIX, Bound)
    hits.note(Bound.STREAMS, 2)
    hits.read(Bound.LOG_LINES, lambda: 7)
    registry = CollectorRegistry()
    registry.register(hits)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert {line.split('"')[1] for line in lines} == {bound.value for bound in Bound}
    assert 'policy_controller_limit_hits_total{limit="streams"} 2.0' in lines
    assert 'policy_controller_limit_hits_total{limit="log-lines"} 7.0' in lines
