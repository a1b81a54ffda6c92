"""The base of both tables: what the templates promise, what settings may say, what closed slots do."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

import nft_templates
from compilers.nftables.base import (
    CLOSED_FRAMES,
    CLOSED_LINK_LOCAL,
    CLOSED_TO_MANY,
    CLOSED_TUNNEL,
    CLOSED_UNKNOWN,
    SLOTS,
    Base,
    BaseSettings,
    base_tables,
)
from compilers.nftables.expressions import DROP, jump
from compilers.nftables.packet import Packet, PacketHook
from compilers.nftables.references import problems
from compilers.nftables.render import UNKNOWN_SLOT
from compilers.nftables.table import Chain, NamedMap, NamedSet, Rule, Table
from compilers.nftables.trace import Decision, Walker
from compilers.nftables.transaction import AddChain, AddRule, FlushChain, install
from compilers.nftables.words import ConntrackState, InvalidNftError
from compilers.nftables.writer import rule_text

ACCEPT, DENY = Decision.ACCEPT, Decision.DROP
FORWARD, INPUT = PacketHook.FORWARD, PacketHook.INPUT
INET, BRIDGE = nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE)
KNOWN, ISOLATED, STRANGER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv4Address("10.0.0.9")
LINK_LOCAL, OTHER_LINK_LOCAL = IPv6Address("fe80::1"), IPv6Address("fe80::2")


def base(*interfaces: str) -> Base:
    return base_tables(INET, BRIDGE, BaseSettings(interfaces or ("cni0",)))


def test_every_reference_of_the_templates_resolves() -> None:
    assert list(problems(base().inet)) == []
    assert list(problems(base().bridge)) == []


def test_settings_replace_the_defines_of_the_template() -> None:
    rules = [rule_text(rule) for rule in base("veth*", "br0").inet.chain("forward").rules]

    assert 'iifname { "br0", "veth*" } jump from-pod' in rules
    assert 'oifname { "br0", "veth*" } jump to-pod' in rules


@pytest.mark.parametrize(
    "interfaces",
    [
        (),
        ("*",),
        ("",),
        ("a" * 16,),
        ("cni0", "cni0"),
        ('cni0", "eth0',),
        ("cni0 }",),
        ("cni0\n",),
        ("c*i",),
        ("$x",),
        ("é",),
    ],
)
def test_interface_patterns_are_checked(interfaces: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNftError):
        BaseSettings(interfaces)


@pytest.mark.parametrize(
    ("inet", "bridge", "reason"),
    [
        (
            INET.replace("chain link-local {", "chain link-local {\n drop"),
            BRIDGE,
            "no empty chain link-local",
        ),
        (
            INET,
            BRIDGE.replace("chain frames {", "chain tagged {").replace("jump frames", "jump tagged"),
            "frames",
        ),
        (INET.replace("table inet policy-controller", "table inet other"), BRIDGE, "inet other"),
        (BRIDGE, BRIDGE, "bridge policy-controller"),
        (INET.replace("vmap @egress4", "vmap @egress5"), BRIDGE, "@egress5"),
    ],
)
def test_a_template_that_lacks_what_it_promises_is_refused(inet: str, bridge: str, reason: str) -> None:
    with pytest.raises(InvalidNftError, match=reason):
        base_tables(inet, bridge, BaseSettings())


def test_installing_never_flushes_a_slot() -> None:
    for table in (base().inet, base().bridge):
        transaction = install(table)

        flushed = {one.name for one in transaction.commands if isinstance(one, FlushChain)}
        assert flushed == {chain.name for chain in table.chains if chain.rules}
        assert flushed.isdisjoint(SLOTS[table.family])
        assert {one.name for one in transaction.commands if isinstance(one, AddChain)} == {
            chain.name for chain in table.chains
        }
        assert "delete" not in transaction.text()


def test_a_transaction_is_one_command_a_line() -> None:
    transaction = install(base().inet)

    lines = transaction.text().splitlines()

    assert lines == [command.text() for command in transaction.commands]
    assert lines[0] == "add table inet policy-controller"
    assert "add set inet policy-controller self4 { type ipv4_addr . ipv4_addr; }" in lines
    first = next(place for place, one in enumerate(transaction.commands) if isinstance(one, AddRule))
    assert all(not isinstance(one, AddChain) for one in transaction.commands[first:])


def filled(closed: dict[str, tuple[Rule, ...]]) -> tuple[Table, Table]:
    """Return the base with KNOWN and ISOLATED known, ISOLATED denied everything both ways, and slots closed."""
    tables = base()
    inet = tables.inet
    sets: dict[str, frozenset[IPv4Address | tuple[IPv4Address, IPv4Address]]] = {
        "known4": frozenset({KNOWN, ISOLATED}),
        "self4": frozenset({(KNOWN, KNOWN), (ISOLATED, ISOLATED)}),
    }
    pod = Chain("nobody", None, (Rule((DROP,)),))
    inet = replace(
        inet,
        sets=tuple(
            NamedSet(one.declaration, frozenset(sets.get(one.declaration.name, ()))) for one in inet.sets
        ),
        maps=tuple(
            NamedMap(
                one.declaration, {ISOLATED: jump("nobody")} if one.declaration.name.endswith("4") else {}
            )
            for one in inet.maps
        ),
        chains=(*inet.chains, pod),
    )
    return _closed(inet, closed), _closed(tables.bridge, closed)


def _closed(table: Table, closed: dict[str, tuple[Rule, ...]]) -> Table:
    chains = tuple(replace(one, rules=closed.get(one.name, one.rules)) for one in table.chains)
    return replace(table, chains=chains)


OPEN: dict[str, tuple[Rule, ...]] = {}
ALL_CLOSED = {
    "link-local": CLOSED_LINK_LOCAL,
    "to-many": CLOSED_TO_MANY,
    "tunnel": CLOSED_TUNNEL,
    "unknown-egress": CLOSED_UNKNOWN,
    "unknown-ingress": CLOSED_UNKNOWN,
    "frames": CLOSED_FRAMES,
}
Addresses = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]


def tcp(
    hook: PacketHook, iifname: str, oifname: str, pair: Addresses, **more: ConntrackState | bool | int
) -> Packet:
    return Packet(hook, iifname, oifname, *pair, 6, 80, **more)  # type: ignore[arg-type]  # one name a field


def icmp6(hook: PacketHook, kind: int, hop_limit: int = 64, source: IPv6Address = LINK_LOCAL) -> Packet:
    ends = (source, OTHER_LINK_LOCAL)
    return Packet(hook, "cni0", "cni0", *ends, 58, icmpv6_type=kind, hop_limit=hop_limit)


def udp_to(destination: str, **more: bool | str) -> Packet:
    address = ip_address(destination)
    source = KNOWN if address.version == 4 else IPv6Address("fd10:244:1::b")
    return Packet(FORWARD, "cni0", "cni0", source, address, 17, 5353, **more)  # type: ignore[arg-type]  # one name a field


def in_tunnel(hook: PacketHook, iifname: str = "cni0", oifname: str = "") -> Packet:
    return Packet(hook, iifname, oifname, KNOWN, STRANGER, 17, 8472)


NEIGHBOUR_DISCOVERY = (133, 134, 135, 136, 137)
LISTENER_DISCOVERY = (130, 131, 132, 143)


# A packet, its fate while slots are open, and its fate once all are closed.
FATES: list[tuple[str, Packet, Decision, Decision]] = [
    ("known to known", tcp(FORWARD, "cni0", "cni0", (KNOWN, KNOWN)), ACCEPT, ACCEPT),
    ("to an isolated pod", tcp(FORWARD, "eth0", "cni0", (STRANGER, ISOLATED)), DENY, DENY),
    ("from an isolated pod", tcp(FORWARD, "cni0", "eth0", (ISOLATED, STRANGER)), DENY, DENY),
    (
        "an isolated pod to itself, through a Service",
        tcp(FORWARD, "cni0", "cni0", (ISOLATED, ISOLATED), translated=True),
        ACCEPT,
        ACCEPT,
    ),
    (
        "an isolated pod's address to itself, forged",
        tcp(FORWARD, "eth0", "cni0", (ISOLATED, ISOLATED)),
        DENY,
        DENY,
    ),
    ("an isolated pod to its node", tcp(INPUT, "cni0", "", (ISOLATED, STRANGER)), DENY, DENY),
    (
        "a reply",
        tcp(FORWARD, "eth0", "cni0", (STRANGER, ISOLATED), state=ConntrackState.ESTABLISHED),
        ACCEPT,
        ACCEPT,
    ),
    ("an unknown pod sends", tcp(FORWARD, "cni0", "eth0", (STRANGER, KNOWN)), ACCEPT, DENY),
    ("to an unknown pod", tcp(FORWARD, "eth0", "cni0", (KNOWN, STRANGER)), ACCEPT, DENY),
    ("an unknown pod to the node", tcp(INPUT, "cni0", "", (STRANGER, KNOWN)), ACCEPT, DENY),
    (
        "the node's own address",
        tcp(INPUT, "cni0", "", (STRANGER, KNOWN), source_is_local=True),
        ACCEPT,
        ACCEPT,
    ),
    ("not on a pod interface", tcp(FORWARD, "eth0", "eth1", (STRANGER, STRANGER)), ACCEPT, ACCEPT),
    ("link-local between pods", tcp(FORWARD, "cni0", "cni0", (LINK_LOCAL, OTHER_LINK_LOCAL)), ACCEPT, DENY),
    ("link-local to the node", tcp(INPUT, "cni0", "", (LINK_LOCAL, OTHER_LINK_LOCAL)), ACCEPT, DENY),
    (
        "a tagged frame",
        tcp(PacketHook.BRIDGE_FORWARD, "v1", "v2", (KNOWN, ISOLATED), ether_type=0x8100),
        ACCEPT,
        DENY,
    ),
    ("a plain frame", tcp(PacketHook.BRIDGE_FORWARD, "v1", "v2", (KNOWN, ISOLATED)), ACCEPT, ACCEPT),
    *(
        (
            f"discovery {kind}, hop limit {limit}",
            icmp6(hook, kind, limit),
            ACCEPT,
            ACCEPT if on_link else DENY,
        )
        for kinds, own in ((NEIGHBOUR_DISCOVERY, 255), (LISTENER_DISCOVERY, 1))
        for kind in kinds
        for hook in (FORWARD, INPUT)
        for limit, on_link in ((own, True), (64, False), (254, False))
    ),
    *(
        (f"listener discovery {kind} from {source}", icmp6(hook, kind, 1, source), ACCEPT, fate)
        for kind in LISTENER_DISCOVERY
        for hook in (FORWARD, INPUT)
        for source, fate in ((IPv6Address("::"), ACCEPT), (IPv6Address("fd10:244:1::b"), DENY))
    ),
    ("a packet in a packet to its node", in_tunnel(INPUT), ACCEPT, DENY),
    ("a packet in a packet to another node", in_tunnel(FORWARD, "cni0", "eth0"), ACCEPT, DENY),
    ("a packet in a packet from elsewhere", in_tunnel(FORWARD, "eth0", "eth1"), ACCEPT, ACCEPT),
    ("to the broadcast address", udp_to("10.244.1.255", destination_is_broadcast=True), ACCEPT, DENY),
    ("to everybody", udp_to("255.255.255.255", destination_is_broadcast=True), ACCEPT, DENY),
    ("to an IPv4 group", udp_to("224.0.0.251"), ACCEPT, DENY),
    ("to an IPv6 group", udp_to("ff02::fb"), ACCEPT, DENY),
    ("a frame to an address that is no pod's", udp_to("172.17.0.1", destination_link="eth0"), ACCEPT, DENY),
    ("echo over link-local", icmp6(FORWARD, 128), ACCEPT, DENY),
]


@pytest.mark.parametrize(
    ("sent", "while_open", "once_closed"), [one[1:] for one in FATES], ids=[one[0] for one in FATES]
)
def test_slots_decide_only_what_they_are_for(
    sent: Packet, while_open: Decision, once_closed: Decision
) -> None:
    assert Walker(filled(OPEN)).verdict(sent) is while_open
    assert Walker(filled(ALL_CLOSED)).verdict(sent) is once_closed


API4, API6 = IPv4Address("10.96.0.1"), IPv6Address("fd96::1")
NEW6 = IPv6Address("fd10:244:1::c")
API_SERVER, NODE = IPv4Address("172.31.0.12"), IPv4Address("172.31.0.11")


def untold(settings: BaseSettings) -> tuple[Table, Table]:
    """The same with unknown addresses dropped because nobody says who has them."""
    rules = base_tables(INET, BRIDGE, settings).closed_untold
    return filled({slot: rules[direction] for direction, slot in UNKNOWN_SLOT.items()})


def called(hook: PacketHook, pair: Addresses, original: tuple[IPv4Address | IPv6Address, int]) -> Packet:
    out = "eth0" if hook is FORWARD else ""
    return Packet(hook, "cni0", out, *pair, 6, 6443, translated=True, original=original)


def to_new(iifname: str, port: int, protocol: int = 6, source: IPv4Address = API_SERVER) -> Packet:
    return Packet(FORWARD, iifname, "cni0", source, STRANGER, protocol, port)


# A packet, and its fate where the API server is known by no address, by an IPv4 and by an IPv6 address.
UNTOLD: list[tuple[str, Packet, Decision, Decision, Decision]] = [
    ("to the API server", called(FORWARD, (STRANGER, API_SERVER), (API4, 443)), DENY, ACCEPT, DENY),
    ("to the API server on its node", called(INPUT, (STRANGER, NODE), (API4, 443)), DENY, ACCEPT, DENY),
    (
        "to the API server over IPv6",
        called(FORWARD, (NEW6, IPv6Address("fd31::c")), (API6, 443)),
        *(DENY, DENY, ACCEPT),
    ),
    ("to another port of it", called(FORWARD, (STRANGER, API_SERVER), (API4, 444)), DENY, DENY, DENY),
    ("to another Service", called(FORWARD, (STRANGER, API_SERVER), (STRANGER, 443)), DENY, DENY, DENY),
    ("without a Service", tcp(FORWARD, "cni0", "eth0", (STRANGER, API_SERVER)), DENY, DENY, DENY),
    (
        "to its address where nothing is rewritten",
        Packet(FORWARD, "cni0", "eth0", STRANGER, API4, 6, 443),
        *(DENY, ACCEPT, DENY),
    ),
    ("the same by UDP", Packet(FORWARD, "cni0", "eth0", STRANGER, API4, 17, 443), DENY, DENY, DENY),
    (
        "an isolated pod to the API server",
        called(FORWARD, (ISOLATED, API_SERVER), (API4, 443)),
        *(DENY, DENY, DENY),
    ),
    (
        "to an API server that is an isolated pod",
        called(FORWARD, (STRANGER, ISOLATED), (API4, 443)),
        *(DENY, DENY, DENY),
    ),
    ("from elsewhere to its port", to_new("eth0", 9473), ACCEPT, ACCEPT, ACCEPT),
    ("through a tunnel to its port", to_new("flannel.1", 9473), ACCEPT, ACCEPT, ACCEPT),
    ("from elsewhere to another port", to_new("eth0", 9472), DENY, DENY, DENY),
    ("from elsewhere by UDP", to_new("eth0", 9473, 17), DENY, DENY, DENY),
    ("from a pod of this node to its port", to_new("cni0", 9473, source=KNOWN), DENY, DENY, DENY),
    (
        "from elsewhere to an isolated pod",
        Packet(FORWARD, "eth0", "cni0", API_SERVER, ISOLATED, 6, 9473),
        *(DENY, DENY, DENY),
    ),
]


@pytest.mark.parametrize(
    ("sent", "nowhere", "ipv4", "ipv6"), [one[1:] for one in UNTOLD], ids=[one[0] for one in UNTOLD]
)
def test_unknown_addresses_that_nobody_tells_of_have_the_control_path_and_no_more(
    sent: Packet, nowhere: Decision, ipv4: Decision, ipv6: Decision
) -> None:
    fates = [
        Walker(untold(BaseSettings(("cni0",), api_server))).verdict(sent)
        for api_server in (None, (API4, 443), (API6, 443))
    ]
    assert fates == [nowhere, ipv4, ipv6]


def test_the_operators_port_is_the_one_that_is_set() -> None:
    tables = untold(BaseSettings(("cni0", "veth*"), None, 1234))

    assert Walker(tables).verdict(to_new("eth0", 1234)) is ACCEPT
    assert Walker(tables).verdict(to_new("eth0", 9473)) is DENY
    assert Walker(tables).verdict(to_new("veth0", 1234, source=KNOWN)) is DENY


@pytest.mark.parametrize(("api_port", "operator_port"), [(0, 9473), (65536, 9473), (443, 0), (443, 65536)])
def test_ports_are_checked(api_port: int, operator_port: int) -> None:
    with pytest.raises(InvalidNftError, match="ports"):
        BaseSettings(("cni0",), (API4, api_port), operator_port)


def test_closed_slots_fit_the_base() -> None:
    for tables in (filled(ALL_CLOSED), untold(BaseSettings(("cni0", "cali*"), (API4, 443)))):
        for table in tables:
            assert list(problems(table)) == []
