"""Which connections end with an address: the same for the fake and for the kernel's conntrack."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket, nfct_msg

from compilers.model.words import Address
from compilers.ruleset.denial import Flow
from policy_controller.enforcer import conntrack
from policy_controller.enforcer.conntrack import Connections, ConnectionsError, Conntrack, Entry
from policy_controller.testing.fake_connections import Ends, FakeConnection, FakeConnections
from policy_controller.testing.namespaces import PrivateNamespace

Side = Mapping[str, int]
ESP: Final = 50
PROTOCOLS: Final[Mapping[int, tuple[Side, Side]]] = {
    **dict.fromkeys(
        (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP),
        ({"sport": 7, "dport": 80}, {"sport": 80, "dport": 7}),
    ),
    socket.IPPROTO_ICMP: (
        {"icmp_id": 7, "icmp_type": 8, "icmp_code": 0},
        {"icmp_id": 7, "icmp_type": 0, "icmp_code": 0},
    ),
    ESP: ({}, {}),
}
"""What the two tuples of an entry hold beside addresses."""


def ends(text: str) -> Ends:
    source, destination = map(ip_address, text.split(" > "))
    return source, destination


def connection(original: str, reply: str = "") -> FakeConnection:
    """One whose reply is the original turned round, unless something else is said."""
    there = ends(original)
    return FakeConnection(there, ends(reply) if reply else (there[1], there[0]))


OUT = connection("10.0.0.1 > 10.0.0.2")
IN = connection("10.0.0.3 > 10.0.0.1")
SERVICE = connection("10.0.0.5 > 10.96.0.1", "10.0.0.1 > 10.0.0.5")
MASQUERADED = connection("10.0.0.4 > 192.0.2.1", "192.0.2.1 > 10.0.0.1")
OTHER = connection("10.0.0.11 > 10.0.0.12")
OUT6 = connection("fd00::1 > fd00::2")
# Its bytes hold those of 10.0.0.1.
LIKE = connection("fd00::a00:1 > fd00:0:a00:1::2")
# More than one search of an entry is made for, and none has a connection.
STRANGERS: Final = " ".join(
    f"10.2.{number // 250}.{number % 250}" for number in range(conntrack.MOST_SEARCHED + 1)
)
EVERY = frozenset({OUT, IN, SERVICE, MASQUERADED, OTHER, OUT6, LIKE})

Memory = tuple[Connections, Callable[[], frozenset[FakeConnection]]]
"""What is asked, and what is held now."""


def every(_: Flow) -> bool:
    return True


@contextmanager
def fake(held: frozenset[FakeConnection], _: int) -> Iterator[Memory]:
    connections = FakeConnections(held)
    yield connections, lambda: connections.held


class Namespaced:
    """The kernel's memory of connections inside a private network namespace, asked from any thread."""

    def __init__(self, network: PrivateNamespace) -> None:
        self._network = network

    def end(self, addresses: frozenset[Address]) -> int:
        return self._network.run(lambda: Conntrack().end(addresses))

    def of(self, addresses: frozenset[Address], wanted: Callable[[Flow], bool]) -> tuple[Entry, ...]:
        return self._network.run(lambda: Conntrack().of(addresses, wanted))

    def cut(self, entries: Iterable[Entry]) -> int:
        return self._network.run(lambda: Conntrack().cut(entries))


@contextmanager
def real(held: frozenset[FakeConnection], protocol: int) -> Iterator[Memory]:
    with PrivateNamespace() as network:
        network.run(lambda: add(held, protocol))
        yield Namespaced(network), lambda: network.run(dump)


def add(
    held: frozenset[FakeConnection], protocol: int, ports: Mapping[int, tuple[Side, Side]] = PROTOCOLS
) -> None:
    for one in held:
        version = one.original[0].version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        number, sides = protocol, ports[protocol]
        if version == 6 and protocol == socket.IPPROTO_ICMP:
            number = socket.IPPROTO_ICMPV6
            sides = ({**sides[0], "icmp_type": 128}, {**sides[1], "icmp_type": 129})
        original, reply = (
            NFCTAttrTuple(family, str(source), str(destination), number, **side)
            for (source, destination), side in zip((one.original, one.reply), sides, strict=True)
        )
        with NFCTSocket(nfgen_family=family) as kernel:
            kernel.entry("add", timeout=300, tuple_orig=original, tuple_reply=reply)


def dump() -> frozenset[FakeConnection]:
    with NFCTSocket(nfgen_family=socket.AF_UNSPEC) as kernel:
        return frozenset(
            FakeConnection(read(entry, "CTA_TUPLE_ORIG"), read(entry, "CTA_TUPLE_REPLY"))
            for entry in kernel.dump()
        )


def read(entry: nfct_msg, name: str) -> Ends:
    source, destination = (
        ip_address(value) for _, value in entry.get_attr(name).get_attr("CTA_TUPLE_IP")["attrs"]
    )
    return source, destination


MEMORIES = pytest.mark.parametrize(
    ("memory", "protocol"),
    [
        pytest.param(fake, socket.IPPROTO_TCP, id="fake"),
        *(
            pytest.param(real, protocol, id=f"kernel-{protocol}", marks=pytest.mark.kernel)
            for protocol in PROTOCOLS
        ),
    ],
)


@MEMORIES
@pytest.mark.parametrize(
    ("addresses", "gone"),
    [
        ("10.0.0.1", {OUT, IN, SERVICE, MASQUERADED}),
        ("10.0.0.3", {IN}),
        ("10.96.0.1", {SERVICE}),
        ("192.0.2.1 fd00::1", {MASQUERADED, OUT6}),
        ("10.0.0.6 fd00::6", set()),
        (f"10.0.0.3 192.0.2.1 fd00::1 {STRANGERS}", {IN, MASQUERADED, OUT6}),
        (STRANGERS, set()),
        ("", set()),
    ],
)
def test_a_connection_ends_when_either_of_its_tuples_holds_the_address(
    memory: Callable[..., Any], protocol: int, addresses: str, gone: set[FakeConnection]
) -> None:
    with memory(EVERY, protocol) as (connections, held):
        wanted = frozenset(map(ip_address, addresses.split()))
        assert connections.end(wanted) == len(gone)
        assert held() == EVERY - gone
        assert connections.end(wanted) == 0


@MEMORIES
def test_connections_are_told_by_the_ends_that_gates_see_and_cut_one_by_one(
    memory: Callable[..., Any], protocol: int
) -> None:
    ports = PROTOCOLS[protocol][0]
    with memory(EVERY, protocol) as (connections, held):
        asked = frozenset({ip_address("10.0.0.1"), ip_address("fd00::1")})
        found = connections.of(asked, every)
        # Of a masqueraded one the node has the address that answers come to, and 10.0.0.1 none: it is behind neither end.
        assert {(one.flow.source, one.flow.destination) for one in found} == {
            (one.original[0], one.reply[0]) for one in (OUT, IN, SERVICE, OUT6)
        }
        if "sport" in ports and memory is real:
            assert {(one.flow.source_port, one.flow.destination_port) for one in found} == {(7, 80)}
            assert {one.flow.protocol for one in found} == {protocol}
        of_service = [one for one in found if one.flow.source == SERVICE.original[0]]
        assert (connections.cut(of_service), held()) == (1, EVERY - {SERVICE})
        assert (connections.cut(of_service), connections.of(frozenset(), every)) == (0, ())
        assert (connections.cut(found), held()) == (3, EVERY - {OUT, IN, SERVICE, OUT6})


@pytest.mark.kernel
def test_what_the_node_itself_opened_met_no_gate() -> None:
    with PrivateNamespace() as network:
        network.run(lambda: add(frozenset({IN, connection("10.0.0.254 > 10.0.0.1")}), socket.IPPROTO_TCP))
        asked = frozenset({ip_address("10.0.0.1")})
        before = {one.flow.source for one in network.run(lambda: Conntrack().of(asked, every))}
        network.run(give_itself_an_address)
        after = {one.flow.source for one in network.run(lambda: Conntrack().of(asked, every))}
        assert (before - after, after) == ({ip_address("10.0.0.254")}, {IN.original[0]})


def give_itself_an_address() -> None:
    with IPRoute() as route:
        route.addr("add", index=route.link_lookup(ifname="lo")[0], address="10.0.0.254", prefixlen=32)


@pytest.mark.kernel
def test_an_entry_that_the_server_made_instead_is_cut_as_well() -> None:
    with PrivateNamespace() as network:
        network.run(lambda: add(frozenset({OUT}), socket.IPPROTO_TCP))
        asked = frozenset({ip_address("10.0.0.1")})
        listed = network.run(lambda: Conntrack().of(asked, every))
        network.run(lambda: Conntrack().end(asked))
        # Turned round: what was the server calls, from the port on which it listened.
        there = FakeConnection(OUT.reply, OUT.original)
        with_ports = {socket.IPPROTO_TCP: ({"sport": 80, "dport": 7}, {"sport": 7, "dport": 80})}
        network.run(lambda: add(frozenset({there}), socket.IPPROTO_TCP, with_ports))
        assert network.run(lambda: Conntrack().cut(listed)) == 1
        assert network.run(dump) == frozenset()


@pytest.mark.kernel
def test_more_connections_than_one_answer_of_the_kernel_holds_end_together() -> None:
    many = frozenset(connection(f"10.1.{number // 250}.{number % 250} > 10.0.0.1") for number in range(1000))
    with real(many | EVERY, socket.IPPROTO_UDP) as (connections, held):
        assert connections.end(frozenset({ip_address("10.0.0.1")})) == len(many) + 4
        assert held() == {OTHER, OUT6, LIKE}


@pytest.mark.kernel
def test_thousands_of_addresses_cost_little_more_than_a_few() -> None:
    many = frozenset(connection(f"10.1.{number // 250}.{number % 250} > 10.0.0.1") for number in range(2000))

    def seconds(count: int) -> float:
        """What looking for that many addresses costs the thread."""
        wanted = frozenset(ip_address("10.128.0.0") + number for number in range(count))
        begin = time.thread_time()
        assert Conntrack().end(wanted) == 0
        return time.thread_time() - begin

    with PrivateNamespace() as network:
        network.run(lambda: add(many, socket.IPPROTO_UDP))
        assert network.run(lambda: seconds(5000) < 5 * seconds(conntrack.MOST_SEARCHED))


def test_a_kernel_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # A kind of request that ctnetlink does not have.
    monkeypatch.setattr(conntrack, "IPCTNL_MSG_CT_GET", 99)
    with pytest.raises(ConnectionsError, match="connections of 1 addresses: Invalid argument"):
        Conntrack().end(frozenset({ip_address("10.0.0.1")}))
