"""Open connections that a change denies, with packets and the whole path from the operator's store.

On every connection somebody goes on speaking. Those on the first ports are denied by the change, those on the last are not.
"""

import asyncio
import errno
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

import pytest
import pytest_asyncio

from compilers.model.settings import EXISTING_CONNECTIONS, ClusterSettings, ExistingConnections
from compilers.model.words import Address, Protocol
from compilers.ruleset.denial import Flow
from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.testing.agreement.tests.long_talks import (
    LONG,
    WORD,
    End,
    Line,
    LongTalks,
    Speaker,
    Spec,
    long_talks,
)
from policy_controller.testing.agreement.tests.scene import Record, command
from policy_controller.testing.agreement.tests.whole_path import WholePath
from policy_controller.testing.kube_proxy import Endpoint, KubeProxy, Mode, ProxiedNode, ServicePort
from policy_controller.testing.laboratory import NetworkKind, Pod, inside
from policy_controller.testing.probe import Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

FIRST, FIRST_KEPT, LAST = 7000, 7500, 7999
SERVICE_NETWORKS: Final = (ip_network("10.96.0.0/16"), ip_network("fd96::/64"))
LIMIT: Final = 1.0
"""Seconds after the change is in force within which what it denies has ended."""
WATCHED: Final = 3.0
"""Seconds for which nothing may be heard after that. TCP repeats what was not acknowledged after 0.2, 0.6, 1.4 and 3 s."""
PROTOCOLS: Final = {Transport.TCP: Protocol.TCP, Transport.UDP: Protocol.UDP}
ENDED: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
PORTS: Final = [
    {"protocol": transport.value, "port": FIRST_KEPT, "endPort": LAST}
    for transport in (Transport.TCP, Transport.UDP)
]


def selected(app: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": app}}}


CLIENTS_GATE: Final = {**selected("client"), "policyTypes": ["Egress"], "egress": [{"ports": PORTS}]}
SERVERS_GATE: Final = {
    **selected("server"),
    "policyTypes": ["Ingress"],
    "ingress": [{"ports": PORTS}, {"from": [selected("client")]}],
}
WAYS: Final = ("near", "far", "service", "node")
"""To a pod of the same node, to one of the other, to that by a Service, and to the client's own node."""


@dataclass
class Cast:
    """Who talks, and the Services in front."""

    path: WholePath
    network: NetworkKind
    client: Pod
    near: Pod
    far: Pod
    proxies: tuple[KubeProxy, ...]

    def specs(self, ways: tuple[str, ...]) -> tuple[Spec, ...]:
        """For each way, transport and family one that each speaks on and is denied, and one that is not."""
        denied, kept = itertools.count(FIRST), itertools.count(FIRST_KEPT)
        found, services = [], []
        for way, transport, index in itertools.product(ways, PROTOCOLS, (0, 1)):
            for speaker, numbers in (*((one, denied) for one in Speaker), (Speaker.BOTH, kept)):
                port = next(numbers)
                server = self._server(way, index)
                called = server.address
                if way == "service":
                    service = self._service(transport, port)
                    services.append(service)
                    called = service.cluster_ips[index]
                client = End(self.client.namespace, self.client.addresses[index])
                found.append(Spec(way, transport, client, server, called, port, speaker))
        for proxy in self.proxies:
            proxy.sync(services)
        return tuple(found)

    def _server(self, way: str, index: int) -> End:
        if way == "node":
            node = self.client.node
            return End(node.namespace, self.path.laboratory.near_addresses(node)[index])
        pod = self.near if way == "near" else self.far
        return End(pod.namespace, pod.addresses[index])

    def _service(self, transport: Transport, port: int) -> ServicePort:
        return ServicePort(
            "shop",
            f"service-{port}",
            PROTOCOLS[transport],
            port,
            cluster_ips=tuple(network[port] for network in SERVICE_NETWORKS),
            endpoints=tuple(Endpoint(address, port, self.far.node.name) for address in self.far.addresses),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(network: NetworkKind, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with WholePath(tmp_path_factory.mktemp("cut"), network) as path:
        here, there = (path.laboratory.nodes[name] for name in ("node-a", "node-b"))
        client, near = (path.laboratory.add_pod(here, name) for name in ("client", "near"))
        far = path.laboratory.add_pod(there, "far")
        for pod, app in ((client, "client"), (near, "server"), (far, "server")):
            path.tell_pod(pod, app)
        proxies = []
        for node in (here, there):
            for services in SERVICE_NETWORKS:
                # What a default route stands for.
                command(node.namespace, "ip", "route", "replace", str(services), "dev", "eth0")
            proxied = ProxiedNode(node.name, node.addresses, node.pod_networks, SERVICE_NETWORKS)
            proxies.append(KubeProxy(Mode.NFTABLES, node.namespace, proxied))
        await path.settled()
        yield Cast(path, network, client, near, far, tuple(proxies))


def denied(spec: Spec, line: Line) -> bool:
    """Whether a line must fall silent. What a node says to its own pods is judged nowhere, unless it needs answers."""
    unasked = spec.way == "node" and spec.transport is Transport.UDP and line.speaker is Speaker.SERVER
    return spec.port < FIRST_KEPT and not unasked


def hears_of_it(cast: Cast, gate: dict[str, Any], spec: Spec, line: Line) -> bool:
    """Whether who goes on speaking on a denied line is told that it is over.

    What a node says meets no gate that could tell it. What the gate of a client says to it for a Service comes from the pod
    behind the Service, and on a bridge nothing translates that: the client does not know whom it hears.
    """
    by_node = spec.way == "node" and line.speaker is Speaker.SERVER
    untranslated = spec.way == "service" and line.speaker is Speaker.CLIENT and gate is CLIENTS_GATE
    bridged = cast.network is not NetworkKind.ROUTED
    return spec.transport is Transport.TCP and not by_node and not (untranslated and bridged)


def heard(talks: LongTalks) -> dict[Line, int]:
    return {line: line.heard for _, line in talks.lines()}


async def whole(talks: LongTalks, lines: list[tuple[Spec, Line]]) -> None:
    """Return when everything that was said on these has been heard; fails when something never is."""
    talks.fall_silent()
    deadline = time.monotonic() + LONG
    while left := [f"{spec}: {line.heard} of {line.said}" for spec, line in lines if line.heard != line.said]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.02)


async def all_heard(talks: LongTalks) -> None:
    """Return when every line has been heard anew."""
    before, deadline = heard(talks), time.monotonic() + LONG
    while any(line.heard == before[line] for _, line in talks.lines()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def heard_again(lines: list[Line]) -> None:
    """Return when each has been heard, whoever says a word on it: of UDP nobody knows that it has ended."""
    for line in lines:
        before, deadline = line.heard, time.monotonic() + LONG
        while line.heard == before:
            assert time.monotonic() < deadline
            line.mouth.send(WORD)
            await asyncio.sleep(0.02)


async def until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def open_again(cast: Cast) -> AsyncIterator[None]:
    yield
    cast.path.tell_no_policies(["tight"])
    cast.path.tell_pod(cast.client, "client")
    cast.path.store.settle(ClusterSettings(), 0)
    await cast.path.settled()


@pytest.fixture
def by_annotation(cast: Cast) -> Iterator[None]:
    cast.path.tell_namespace({EXISTING_CONNECTIONS: "cut"})
    yield
    cast.path.tell_namespace({})


@pytest.fixture
def by_settings(cast: Cast) -> None:
    cast.path.store.settle(ClusterSettings(existing_connections=ExistingConnections.CUT), 0)


@pytest.mark.parametrize(
    ("gate", "ways", "chosen"),
    [
        pytest.param(CLIENTS_GATE, WAYS, "by_settings", id="a policy closes the client's gate"),
        pytest.param(SERVERS_GATE, WAYS[:3], "by_annotation", id="a label closes the servers' gates"),
    ],
)
async def test_denied_connections_end_and_admitted_ones_lose_nothing(
    cast: Cast,
    gate: dict[str, Any],
    ways: tuple[str, ...],
    chosen: str,
    request: pytest.FixtureRequest,
    record_property: Record,
) -> None:
    request.getfixturevalue(chosen)
    if gate is SERVERS_GATE:
        cast.path.tell_policies({"tight": gate})
    await cast.path.settled()
    async with long_talks(cast.specs(ways)) as talks:
        await all_heard(talks)
        if gate is SERVERS_GATE:
            cast.path.tell_pod(cast.client, "somebody")
        else:
            cast.path.tell_policies({"tight": gate})
        await cast.path.settled()
        in_force = time.monotonic()
        await until(in_force + LIMIT + WATCHED)

        late = [
            f"{of}: {line.speaker.value} heard {line.last - in_force:.2f} s after"
            for of, line in talks.lines()
            if denied(of, line) and line.last > in_force + LIMIT
        ]
        assert not late
        untold = [
            f"{of}: {line.speaker.value} has {line.error}"
            for of, line in talks.lines()
            if denied(of, line) and hears_of_it(cast, gate, of, line)
            if line.error is None or line.error.errno not in ENDED
        ]
        assert not untold
        going_on = [(of, line) for of, line in talks.lines() if not denied(of, line)]
        assert all(line.last > in_force + WATCHED for _, line in going_on)
        await whole(talks, going_on)
        ended = [line for of, line in talks.lines() if denied(of, line)]
        last = max(line.last - in_force for line in ended)

        cast.path.tell_no_policies(["tight"])
        await cast.path.settled()
        await heard_again(
            # What the pod behind a Service says by itself is no answer of the Service.
            [
                line
                for of, line in talks.lines()
                if denied(of, line) and of.transport is Transport.UDP and of.way != "service"
            ]
        )
    record_property("lines of open connections that ended when denied", len(ended))
    record_property("lines of open connections that went on when admitted", len(going_on))
    record_property("milliseconds until the last denied word was heard", round(1000 * max(0.0, last)))


async def test_connections_are_kept_unless_somebody_chose_otherwise_and_deleting_entries_would_end_few(
    cast: Cast,
) -> None:
    """The second half is what would happen without the chain midstream: the server speaks, and the kernel believes it."""
    async with long_talks(cast.specs(("near", "far"))) as talks:
        cast.path.tell_policies({"tight": CLIENTS_GATE})
        await cast.path.settled()
        await until(time.monotonic() + LIMIT)
        await all_heard(talks)

        await asyncio.to_thread(_forget_denied, cast)
        await until(time.monotonic() + LIMIT)
        before = heard(talks)
        await until(time.monotonic() + LIMIT)
        alive = {line for _, line in talks.lines() if line.heard > before[line]}
        expected = {
            line
            for of, line in talks.lines()
            if not denied(of, line) or of.speaker in (Speaker.SERVER, Speaker.BOTH)
        }
        assert alive == expected


@pytest.mark.whole
@pytest.mark.parametrize("killed_after", [0.0, 0.005, 0.01, 0.02, 0.04])
async def test_an_enforcer_that_is_killed_while_it_cuts_leaves_nothing_to_its_successor_undone(
    cast: Cast, killed_after: float
) -> None:
    async with long_talks(cast.specs(("near", "far"))) as talks:
        cast.path.tell_policies({"tight": CLIENTS_GATE})
        await cast.path.settled()
        await all_heard(talks)
        cast.path.store.settle(ClusterSettings(existing_connections=ExistingConnections.CUT), 0)
        await asyncio.sleep(killed_after)
        await cast.path.restart_enforcer("node-a")
        await cast.path.settled()
        in_force = time.monotonic()
        await until(in_force + 2 * LIMIT)
        assert not [
            str(of) for of, line in talks.lines() if denied(of, line) and line.last > in_force + LIMIT
        ]
        await whole(talks, [(of, line) for of, line in talks.lines() if not denied(of, line)])


def _forget_denied(cast: Cast) -> None:
    """Delete what the client's node remembers of connections that the policy denies."""

    def is_denied(flow: Flow) -> bool:
        return flow.destination_port < FIRST_KEPT

    mine = frozenset[Address](cast.client.addresses)
    with inside(cast.client.node.namespace):
        assert Conntrack().cut(Conntrack().of(mine, is_denied))
