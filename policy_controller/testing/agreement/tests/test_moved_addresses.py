"""Open connections of an address that changes hands, with packets and the whole path from the operator's store.

Each conversation is between a client on one node and a server on the other, over UDP and TCP, IPv4 and IPv6. What
arrives is seen at the interface of the pod, so that a refusal by whoever has the address now counts as arrival.
"""

import asyncio
import enum
import itertools
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from compilers.model.words import Address
from policy_controller.controller.streams import NodeStreams
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.whole_path import WholePath
from policy_controller.testing.extent import Extent
from policy_controller.testing.laboratory import NetworkKind, Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, ProbeResult, Transport
from policy_controller.testing.probe.sockets import family_of, open_socket, socket_address

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

PORT: Final = 7000
KINDS: Final = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
PATIENCE: Final = 1.5
"""Seconds until nothing has arrived; TCP repeats itself after 0.2 s and 0.6 s."""
NUMBERS: Final = itertools.count(1)
LONGEST_PAUSE: Final = 1.0
"""Seconds between two walks over all connections (docs/decisions/moved-addresses.md)."""
LONG: Final = 20.0
"""Seconds for what must arrive."""

Spec = dict[str, Any]
Arrived = set[tuple[Transport, int]]
"""Transport and IP version."""
ALL: Final[Arrived] = {(transport, version) for transport in KINDS for version in (4, 6)}


def selected(app: str) -> Spec:
    return {"podSelector": {"matchLabels": {"app": app}}}


TO_OLD: Final[Spec] = {**selected("client"), "policyTypes": ["Egress"], "egress": [{"to": [selected("old")]}]}
TO_OLD_FROM_CLIENT: Final[Spec] = {**selected("old"), "ingress": [{"from": [selected("client")]}]}
TO_NEW_FROM_NOBODY: Final[Spec] = {**selected("new"), "policyTypes": ["Ingress"]}
TO_CLIENT_FROM_NOBODY: Final[Spec] = {**selected("client"), "policyTypes": ["Ingress"]}


@dataclass(frozen=True, slots=True)
class Conversation:
    """An open connection, with both ends in the hands of the test."""

    transport: Transport
    client: socket.socket
    server: socket.socket
    client_address: Address
    server_address: Address

    @property
    def kind(self) -> tuple[Transport, int]:
        return self.transport, self.server_address.version

    @property
    def to_server(self) -> bytes:
        """How a packet of the client begins, from its source address on."""
        return self._header(self.client_address, self.server_address, self.client.getsockname()[1], PORT)

    @property
    def to_client(self) -> bytes:
        return self._header(self.server_address, self.client_address, PORT, self.client.getsockname()[1])

    @staticmethod
    def _header(source: Address, destination: Address, source_port: int, port: int) -> bytes:
        return source.packed + destination.packed + struct.pack("!HH", source_port, port)

    async def goes_on(self) -> bool:
        """Whether each end hears what the other says now."""
        return await heard(self.client, self.server) and await heard(self.server, self.client)


async def heard(speaker: socket.socket, listener: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(speaker, b"word")
    try:
        async with asyncio.timeout(PATIENCE):
            return await loop.sock_recv(listener, 4) == b"word"
    except TimeoutError:
        return False


@dataclass(slots=True)
class Scene:
    """A client on node-a, an old pod on node-b, and conversations between them."""

    path: WholePath
    client: Pod
    old: Pod
    conversations: tuple[Conversation, ...]
    new: Pod | None = None

    async def move(self) -> None:
        """Another pod gets the addresses of the old one, and the nodes have put in force what the operator says of it."""
        # It is cut off first: no end of a connection is told that the other has gone.
        self.path.laboratory.remove_pod(self.old)
        node = self.path.laboratory.nodes["node-b"]
        self.new = self.path.laboratory.add_pod(node, f"new-of-{self.old.name}", self.old.addresses)
        self.path.tell_no_pod(self.old)
        self.path.tell_pod(self.new, "new")
        await self.path.settled()

    async def reach_new_pod(self) -> Arrived:
        """Which conversations' packets of the client arrive at the new pod."""
        assert self.new is not None
        with self.path.prober.capture(self.new.namespace, "eth0") as capture:
            for one in self.conversations:
                one.client.send(b"late")
            seen = await asyncio.gather(
                *(capture.frame_with(one.to_server, within=PATIENCE) for one in self.conversations)
            )
        return {one.kind for one, frame in zip(self.conversations, seen, strict=True) if frame is not None}

    async def reach_client(self) -> Arrived:
        """Which UDP conversations' packets arrive at the client that the new pod sends as if it answered."""
        assert self.new is not None
        udp = [one for one in self.conversations if one.transport is Transport.UDP]
        with self.path.prober.capture(self.client.namespace, "eth0") as capture, ExitStack() as opened:
            for one in udp:
                answering = opened.enter_context(bound(self.new, one.server_address, socket.SOCK_DGRAM, PORT))
                answering.sendto(b"late", socket_address(one.client_address, one.client.getsockname()[1]))
            seen = await asyncio.gather(*(capture.frame_with(one.to_client, within=PATIENCE) for one in udp))
        return {one.kind for one, frame in zip(udp, seen, strict=True) if frame is not None}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(network: NetworkKind, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    async with WholePath(tmp_path_factory.mktemp("moved"), network) as path:
        yield path


@contextmanager
def bound(pod: Pod, address: Address, kind: socket.SocketKind, port: int = 0) -> Iterator[socket.socket]:
    with open_socket(pod.namespace, family_of(address), kind) as opened:
        if kind is socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(socket_address(address, port))
        yield opened


@asynccontextmanager
async def conversing(
    client: Pod, server: Pod, transport: Transport, index: int
) -> AsyncIterator[Conversation]:
    """A connection on which both ends have been heard."""
    loop = asyncio.get_running_loop()
    here, there, kind = client.addresses[index], server.addresses[index], KINDS[transport]
    with (
        bound(client, here, kind) as calling,
        bound(server, there, kind, PORT) as listening,
        ExitStack() as opened,
    ):
        answering = listening
        if transport is Transport.TCP:
            listening.listen()
            async with asyncio.timeout(LONG):
                await loop.sock_connect(calling, socket_address(there, PORT))
                answering, _ = await loop.sock_accept(listening)
            opened.enter_context(answering)
            answering.setblocking(False)
        else:
            calling.connect(socket_address(there, PORT))
            listening.connect(socket_address(here, calling.getsockname()[1]))
        conversation = Conversation(transport, calling, answering, here, there)
        assert await conversation.goes_on()
        yield conversation


@asynccontextmanager
async def scene(path: WholePath, *specs: Spec) -> AsyncIterator[Scene]:
    """Pods that the operator has been told of, under these policies, and every kind of conversation open."""
    number = next(NUMBERS)
    nodes = path.laboratory.nodes
    client = path.laboratory.add_pod(nodes["node-a"], f"client-{number}")
    old = path.laboratory.add_pod(nodes["node-b"], f"old-{number}")
    policies = {f"policy-{number}-{index}": spec for index, spec in enumerate(specs)}
    path.tell_pod(client, "client")
    path.tell_pod(old, "old")
    path.tell_policies(policies)
    await path.settled()
    async with AsyncExitStack() as stack:
        conversations = [
            await stack.enter_async_context(conversing(client, old, transport, index))
            for transport in KINDS
            for index in (0, 1)
        ]
        yield Scene(path, client, old, tuple(conversations))
    path.tell_no_policies(policies)
    for pod in [one for one in path.laboratory.pods.values() if one.name.endswith(f"-{number}")]:
        path.tell_no_pod(pod)
        path.laboratory.remove_pod(pod)
    await path.settled()


ACCOUNTS: Final = [
    pytest.param([TO_OLD, TO_OLD_FROM_CLIENT], id="the client may not open connections to the new pod"),
    pytest.param([TO_OLD_FROM_CLIENT, TO_NEW_FROM_NOBODY], id="the new pod admits nobody"),
]


@pytest.mark.parametrize("specs", ACCOUNTS)
async def test_connections_end_when_another_pod_gets_the_address(path: WholePath, specs: list[Spec]) -> None:
    async with scene(path, *specs) as one:
        await one.move()
        await path.ended(one.old)
        assert await one.reach_new_pod() == set()


@pytest.mark.parametrize("specs", ACCOUNTS)
async def test_connections_that_are_not_ended_would_reach_the_new_pod(
    path: WholePath, specs: list[Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeStreams, "note_ended", lambda *_: None)
    async with scene(path, *specs) as one:
        await one.move()
        assert await one.reach_new_pod() == ALL


async def test_a_new_pod_cannot_answer_what_was_asked_of_the_old_one(
    path: WholePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's node names the address nowhere: the client may open connections to everybody."""
    async with scene(path, TO_CLIENT_FROM_NOBODY) as one:
        await one.move()
        await path.ended(one.old)
        assert await one.reach_client() == set()
    monkeypatch.setattr(NodeStreams, "note_ended", lambda *_: None)
    async with scene(path, TO_CLIENT_FROM_NOBODY) as one:
        await one.move()
        assert await one.reach_client() == {kind for kind in ALL if kind[0] is Transport.UDP}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_connections_end_when_the_pod_has_ended(path: WholePath, phase: str) -> None:
    async with scene(path, TO_OLD) as one:
        path.tell_pod(one.old, "old", phase)
        await path.settled()
        await path.ended(one.old)
        found = await asyncio.gather(*(heard(each.client, each.server) for each in one.conversations))
        assert found == [False] * len(ALL)


class Departure(enum.Enum):
    """How a pod leaves its address."""

    LEFT = "left the API"
    COMPLETED = "completed"


@pytest.mark.parametrize(
    "departure",
    [pytest.param(Departure.LEFT, marks=pytest.mark.whole), Departure.COMPLETED],
    ids=lambda one: one.name.lower(),
)
async def test_an_address_that_moves_between_pods_again_and_again_has_what_its_pod_of_the_moment_may(
    path: WholePath, departure: Departure, extent: Extent, record_property: Record
) -> None:
    """By turns a pod that admits the client has it and one that admits nobody; the client knocks all the while."""
    async with scene(path, TO_OLD_FROM_CLIENT, TO_NEW_FROM_NOBODY) as one, AsyncExitStack() as stack:
        knocks = [
            Probe(Endpoint(one.client.namespace, here), there, transport, PORT)
            for here, there in zip(one.client.addresses, one.old.addresses, strict=True)
            for transport in KINDS
        ]
        held, moves = one.old, 0
        denied, meanwhile = list[tuple[float, float]](), list[tuple[float, float]]()
        seconds = list[float]()
        watches = [
            await stack.enter_async_context(path.prober.watch(knock, every_ms=10.0, timeout=0.3))
            for knock in knocks
        ]
        for number in range(extent.choose(2, 30)):
            app = ("old", "new")[number % 2 == 0]
            name = f"{departure.name.lower()}-{number}-of-{one.old.name}"
            began = time.monotonic()
            path.laboratory.remove_pod(held)
            taker = path.laboratory.add_pod(path.laboratory.nodes["node-b"], name, one.old.addresses)
            path.prober.listen(Listener(taker.namespace, taker.name, (PORT,), (PORT,)))
            if departure is Departure.COMPLETED:
                path.tell_pod(held, ("new", "old")[number % 2 == 0], "Succeeded")
            else:
                path.tell_no_pod(held)
            path.tell_pod(taker, app)
            await path.settled()
            seconds.append(time.monotonic() - began)
            since = time.monotonic()
            if app == "old":
                await asyncio.gather(
                    *(watch.changed_to(Outcome.ACCEPTED, since=since, within=LONG) for watch in watches)
                )
            else:
                # A probe may get the port of one that was let through, and is of its connection until that has ended.
                await asyncio.sleep(LONGEST_PAUSE + 0.5)
                denied.append((since + LONGEST_PAUSE, time.monotonic()))
                meanwhile.append((since, since + LONGEST_PAUSE))
            held, moves = taker, moves + 1
        path.tell_no_pod(held)
        seen = [result for watch in watches for result in watch.results]
    # What asks on until the address has moved on may be let in then.
    late, sooner = (
        [
            result
            for result in seen
            if any(since < result.sent_at and _ended(result) < until for since, until in times)
        ]
        for times in (denied, meanwhile)
    )
    leaks, of_old_ports = (
        [result for result in results if result.outcome in {Outcome.ACCEPTED, Outcome.REFUSED}]
        for results in (late, sooner)
    )
    record_property("addresses moved between pods", moves)
    record_property(
        "ms until a moved address is judged anew, building its pod included, the most", 1_000 * max(seconds)
    )
    record_property("moved addresses: probes at pods that admit nobody", len(late))
    record_property("moved addresses: leaks", len(leaks))
    record_property("moved addresses: probes in the second before", len(sooner))
    record_property("moved addresses: those with the port of an open connection", len(of_old_ports))
    assert not leaks, leaks
    assert len(of_old_ports) < 0.01 * len(sooner), of_old_ports
    assert len(late) > 10 * len(denied)


async def test_connections_go_on_when_labels_no_longer_admit_them(path: WholePath) -> None:
    async with scene(path, TO_OLD, TO_OLD_FROM_CLIENT, TO_NEW_FROM_NOBODY) as one:
        path.tell_pod(one.old, "new")
        await path.settled()
        anew = await path.prober.run(
            Probe(Endpoint(one.client.namespace, here), there, Transport.TCP, PORT)
            for here, there in zip(one.client.addresses, one.old.addresses, strict=True)
        )
        assert [result.outcome for result in anew] == [Outcome.TIMED_OUT] * 2
        for conversation in one.conversations:
            assert await conversation.goes_on(), conversation


def _ended(result: ProbeResult) -> float:
    return result.sent_at + result.elapsed_ms / 1_000
