"""Whatever others make grow on a node is bounded, and who met a bound is counted."""

import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from typing import Self

import pytest
from pyroute2.netlink import NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_CTNETLINK
from pyroute2.netlink.nfnetlink.nfctsocket import IPCTNL_MSG_CT_GET

from compilers.model.words import Address
from policy_controller.enforcer import conntrack, departed, endings
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.conntrack import ConnectionsError, Conntrack
from policy_controller.enforcer.departed import Departed
from policy_controller.enforcer.endings import Endings
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.netlink import GENERIC, HEADER, request
from policy_controller.enforcer.presence import Presence
from policy_controller.enforcer.residence import Residents
from policy_controller.enforcer.tests.test_enforcement import BASE, Refusing
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence

OURS = ip_address("10.0.0.1")


def kernel_of(connections: FakeConnections, residence: FakeResidence) -> Kernel:
    return Kernel(Refusing(), connections, residence, BASE, FakeClock())


def addresses(first: int, count: int) -> frozenset[Address]:
    return frozenset(IPv4Address(first + number) for number in range(count))


class Table:
    """A kernel that remembers so many connections of one address, over netlink."""

    def __init__(self, held: int, grows: int = 0) -> None:
        self.held = held
        self.grows = grows
        self.most = 0
        """Deleted after one walk."""
        self._deleted = 0
        self._waiting: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        _, kind, _, number, _ = HEADER.unpack_from(message)
        if kind == NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET:
            self._deleted = 0
            entries = [request(kind, 0, number, entry(index)) for index in range(self.held)]
            self._waiting = [*entries, request(NLMSG_DONE, 0, number, struct.pack("=i", 0))]
            return
        self.held += self.grows - 1
        self._deleted += 1
        self.most = max(self.most, self._deleted)
        self._waiting = [request(NLMSG_ERROR, 0, number, struct.pack("=i", 0))]

    def recv(self, _: int) -> bytes:
        return self._waiting.pop(0)


def entry(index: int) -> bytes:
    def attribute(kind: int, content: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)

    ends = attribute(1, OURS.packed) + attribute(2, IPv4Address(index).packed)
    tuples = b"".join(attribute(kind, attribute(1, ends)) for kind in (1, 2))
    return GENERIC.pack(socket.AF_INET, 0, 0) + tuples + attribute(12, struct.pack(">I", index))


def test_connections_without_number_are_ended_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "MOST_ENTRIES", 10)
    table = Table(35)
    monkeypatch.setattr(conntrack, "new_socket", lambda: table)
    assert Conntrack().end(frozenset({OURS})) == 35
    assert (table.held, table.most) == (0, 10)


def test_connections_that_come_as_fast_as_they_end_are_told_and_not_followed_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conntrack, "MOST_ENTRIES", 10)
    table = Table(35, grows=1)
    monkeypatch.setattr(conntrack, "new_socket", lambda: table)
    with pytest.raises(ConnectionsError, match="there are still some after 160 were ended"):
        Conntrack().end(frozenset({OURS}))


async def test_of_too_many_addresses_whose_connections_cannot_end_those_that_came_first_are_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endings, "MOST_OWED", 10)
    connections, clock, metrics = FakeConnections(), FakeClock(), Metrics()
    connections.refusals = 2
    owed = Endings(kernel_of(connections, FakeResidence()), clock, metrics)
    await owed.end(addresses(0, 8))
    assert owed.lingering is not None
    await owed.end(addresses(100, 5))
    assert owed._owed == addresses(100, 5)
    assert metrics.hits.of(Bound.ENDED_ADDRESSES) == 8
    assert "connections of 8 addresses that changed hands may go on" in caplog.text
    await clock.advance(60)
    await owed.end(frozenset())
    assert owed.lingering is None


def test_departed_addresses_that_were_too_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_DEPARTED", 3)
    held = Departed().after(addresses(0, 5), None)
    assert (len(held.addresses), held.left_out) == (3, 2)
    assert held.after(held.addresses, None).left_out == 0


class Crowded(FakeResidence):
    """A node where a pod has given itself more addresses than are looked at."""

    def look(self) -> Residents:
        raise OSError(errno.E2BIG, "there are more than 65536 addresses")


async def test_a_node_with_too_many_addresses_keeps_gates_and_counts_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    presence = Presence(kernel_of(FakeConnections(), Crowded()), FakeClock())
    assert await presence.look(frozenset()) is None
    assert presence.crowded == 1
    assert "gates of pods that left stay" in caplog.text


def test_every_bound_is_in_the_metrics() -> None:
    metrics = Metrics()
    metrics.hits.note(Bound.HTTP_CONNECTIONS, 3)
    lines = metrics.text().decode().splitlines()
    found: Iterable[str] = (line for line in lines if line.startswith("policy_enforcer_limit_hits_total"))
    assert {line.split('"')[1] for line in found} == {bound.value for bound in Bound}
    assert 'policy_enforcer_limit_hits_total{limit="http-connections"} 3.0' in lines
