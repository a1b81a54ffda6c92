"""The walk follows nft: jumps, returns, gotos, maps, families, and who decided."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.nftables.packet import PORT_FIELDS, Packet, PacketHook
from compilers.nftables.reader import read
from compilers.nftables.table import Table
from compilers.nftables.tests.generated import tables
from compilers.nftables.trace import Decision, Walker, trace
from compilers.nftables.words import ConntrackState, InvalidNftError

ACCEPT, DROP = Decision.ACCEPT, Decision.DROP
FORWARD, INPUT, FRAMES = PacketHook.FORWARD, PacketHook.INPUT, PacketHook.BRIDGE_FORWARD


def packet(**changes: Any) -> Packet:  # noqa: ANN401 - any field of Packet
    """Return a new TCP connection from 10.0.0.1 to port 80 of 10.0.0.2, changed as told."""
    fields: dict[str, Any] = {
        "hook": FORWARD,
        "iifname": "cni0",
        "oifname": "eth0",
        "source": IPv4Address("10.0.0.1"),
        "destination": IPv4Address("10.0.0.2"),
        "protocol": 6,
        "destination_port": 80,
        **changes,
    }
    return Packet(**fields)


def v6(**changes: Any) -> Packet:  # noqa: ANN401 - any field of Packet
    return packet(**{"source": IPv6Address("fd00::1"), "destination": IPv6Address("fd00::2"), **changes})


ICMP = {"protocol": 1, "destination_port": None}
ICMP6 = {"protocol": 58, "destination_port": None, "icmpv6_type": 135}
UDP = {"protocol": 17, "destination_port": 53}

OBJECTS = """
    set s4 { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.9 }; }
    set s6 { type ipv6_addr; elements = { fd00::1 }; }
    set b4 { type ipv4_addr; flags interval; elements = { 9.0.0.0/8, 10.0.0.1, 10.0.0.4-10.0.0.7 }; }
    set n4 { type ipv4_addr . inet_proto . inet_service; elements = { 10.0.0.2 . tcp . 80 }; }
    set pair { type ipv4_addr . ipv4_addr; elements = { 10.0.0.1 . 10.0.0.1 }; }
    set seen { type ipv4_addr . inet_service; size 9; flags dynamic,timeout; timeout 5s; }
    map m4 { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump allowed, 10.0.0.3 : drop, 10.0.0.4 : goto allowed }; }
    chain allowed { return; }
    chain dropping { counter; drop; }
    chain ends { counter; }
    chain twice { jump allowed; ip saddr 10.0.0.1 drop; }
    chain leaving { goto ends; drop; }
"""


def table(rules: str, family: str = "inet", hook: str = "forward") -> Table:
    body = "\n".join(f"    {rule}" for rule in rules.split(";"))
    return read(
        f"table {family} t {{{OBJECTS}chain base {{\ntype filter hook {hook} priority filter; policy accept;\n{body}\n}}\n}}"
    )


# Rules of the base chain, the packet, what becomes of it, and the chain and rule that decide.
WALKS: list[tuple[str, Packet, Decision, str, int | None]] = [
    ("counter", packet(), ACCEPT, "base", None),
    ("drop", packet(), DROP, "base", 0),
    ("counter; accept; drop", packet(), ACCEPT, "base", 1),
    ("return; drop", packet(), ACCEPT, "base", None),
    ("jump allowed; drop", packet(), DROP, "base", 1),
    ("jump dropping; accept", packet(), DROP, "dropping", 1),
    ("jump ends; drop", packet(), DROP, "base", 1),
    ("goto ends; drop", packet(), ACCEPT, "base", None),
    ("goto dropping", packet(), DROP, "dropping", 1),
    ("jump leaving; counter; drop", packet(), DROP, "base", 2),
    ("jump twice; accept", packet(), DROP, "twice", 1),
    ("ip saddr vmap @m4; drop", packet(), DROP, "base", 1),
    ("ip saddr vmap @m4; drop", packet(source=IPv4Address("10.0.0.3")), DROP, "base", 0),
    ("ip saddr vmap @m4; drop", packet(source=IPv4Address("10.0.0.4")), ACCEPT, "base", None),
    ("ip saddr vmap @m4; accept", packet(source=IPv4Address("10.0.0.5")), ACCEPT, "base", 1),
    ("ip saddr vmap @m4; accept", v6(), ACCEPT, "base", 1),
    ("ip saddr @s4 drop", packet(), DROP, "base", 0),
    ("ip saddr @s4 drop", packet(source=IPv4Address("10.0.0.2")), ACCEPT, "base", None),
    ("ip saddr != @s4 drop", packet(source=IPv4Address("10.0.0.2")), DROP, "base", 0),
    ("ip saddr != @s4 drop", v6(), ACCEPT, "base", None),
    ("ip6 saddr @s6 drop", v6(), DROP, "base", 0),
    ("ip6 saddr @s6 drop", packet(), ACCEPT, "base", None),
    ("ip saddr @b4 drop", packet(), DROP, "base", 0),
    ("ip saddr @b4 drop", packet(source=IPv4Address("9.255.255.255")), DROP, "base", 0),
    ("ip saddr @b4 drop", packet(source=IPv4Address("10.0.0.0")), ACCEPT, "base", None),
    ("ip saddr @b4 drop", packet(source=IPv4Address("10.0.0.7")), DROP, "base", 0),
    ("ip saddr @b4 drop", packet(source=IPv4Address("10.0.0.8")), ACCEPT, "base", None),
    ("ip saddr != @b4 drop", packet(source=IPv4Address("10.0.0.8")), DROP, "base", 0),
    ("ip saddr != @b4 drop", v6(), ACCEPT, "base", None),
    ("ip daddr . meta l4proto . th dport @n4 drop", packet(), DROP, "base", 0),
    ("ip daddr . meta l4proto . th dport @n4 drop", packet(**UDP), ACCEPT, "base", None),
    ("ip daddr . meta l4proto . th dport @n4 drop", packet(**ICMP), ACCEPT, "base", None),
    ("ip saddr . ip daddr @pair drop", packet(destination=IPv4Address("10.0.0.1")), DROP, "base", 0),
    ("ip saddr . ip daddr @pair drop", packet(), ACCEPT, "base", None),
    ("tcp dport 80 drop", packet(), DROP, "base", 0),
    ("tcp dport 53 drop", packet(**UDP), ACCEPT, "base", None),
    ("tcp dport != 80 drop", packet(**UDP), ACCEPT, "base", None),
    ("udp dport { 53, 54 } drop", packet(**UDP), DROP, "base", 0),
    ("sctp dport 80 drop", packet(protocol=132), DROP, "base", 0),
    ("tcp dport 79-81 drop", packet(), DROP, "base", 0),
    ("tcp dport 81-90 drop", packet(), ACCEPT, "base", None),
    ("th dport 53 drop", packet(**UDP), DROP, "base", 0),
    ("th dport != 53 drop", packet(**ICMP), ACCEPT, "base", None),
    ("meta l4proto tcp drop", packet(), DROP, "base", 0),
    ("meta l4proto != { tcp, udp } drop", packet(**ICMP), DROP, "base", 0),
    ("ip6 saddr fd00::/64 drop", v6(), DROP, "base", 0),
    ("ip6 saddr fe80::/10 drop", v6(), ACCEPT, "base", None),
    ("icmpv6 type { nd-neighbor-solicit, nd-redirect } drop", v6(**ICMP6), DROP, "base", 0),
    ("icmpv6 type != nd-redirect drop", v6(), ACCEPT, "base", None),
    ("ct state established,related drop", packet(), ACCEPT, "base", None),
    ("ct state established,related drop", packet(state=ConntrackState.RELATED), DROP, "base", 0),
    ("ct status dnat drop", packet(), ACCEPT, "base", None),
    ("ct status dnat drop", packet(translated=True), DROP, "base", 0),
    ("ct direction reply drop", packet(), ACCEPT, "base", None),
    ("tcp flags syn drop", packet(), DROP, "base", 0),
    ("tcp flags syn drop", packet(state=ConntrackState.ESTABLISHED), ACCEPT, "base", None),
    ("tcp flags syn drop", packet(**UDP), ACCEPT, "base", None),
    ("ip saddr . th sport @seen accept; drop", packet(), DROP, "base", 1),
    ("meta l4proto tcp reject with tcp reset", packet(), DROP, "base", 0),
    ("meta l4proto tcp reject with tcp reset", packet(**UDP), ACCEPT, "base", None),
    ('iifname "cni*" drop', packet(), DROP, "base", 0),
    ('iifname "cni" drop', packet(), ACCEPT, "base", None),
    ('iifname { "veth*", "cni0" } drop', packet(), DROP, "base", 0),
    ('oifname != { "veth*", "cni0" } drop', packet(), DROP, "base", 0),
    ("fib saddr type local drop", packet(), ACCEPT, "base", None),
    ("fib saddr type local drop", packet(source_is_local=True), DROP, "base", 0),
    ("fib daddr type broadcast drop", packet(), ACCEPT, "base", None),
    ("fib daddr type broadcast drop", packet(destination_is_broadcast=True), DROP, "base", 0),
    ('fib daddr oifname != "cni*" drop', packet(oifname="cni0"), ACCEPT, "base", None),
    ('fib daddr oifname != "cni*" drop', packet(oifname="cni0", destination_link="eth0"), DROP, "base", 0),
    ("ip6 hoplimit 255 drop", packet(hop_limit=255), ACCEPT, "base", None),
    ("limit rate 10/second drop", packet(), DROP, "base", 0),
    ("limit rate over 10/second drop", packet(), ACCEPT, "base", None),
    ("add @seen { ip saddr . th dport } drop", packet(), DROP, "base", 0),
    ("ip saddr . th dport @seen accept; drop", packet(), DROP, "base", 1),
    ('log prefix "I" group 1 snaplen 96 drop', packet(), DROP, "base", 0),
]


@pytest.mark.parametrize(("rules", "sent", "decision", "chain", "index"), WALKS)
def test_a_walk_ends_where_nft_ends_it(
    rules: str, sent: Packet, decision: Decision, chain: str, index: int | None
) -> None:
    found = trace([table(rules)], sent)

    assert (found.decision, found.chain, found.rule) == (decision, chain, index)
    assert Walker([table(rules)]).verdict(sent) is decision


ETHER = "ether type != { ip, ip6, arp } counter drop"
HOOKS = [
    (table("drop", hook="input"), packet(), ACCEPT),
    (table("drop", hook="input"), packet(hook=INPUT), DROP),
    (table("drop", family="bridge"), packet(), ACCEPT),
    (table("drop", family="bridge"), packet(hook=FRAMES), DROP),
    (table("drop"), packet(hook=FRAMES), ACCEPT),
    (table(ETHER, family="bridge"), packet(hook=FRAMES), ACCEPT),
    (table(ETHER, family="bridge"), v6(hook=FRAMES), ACCEPT),
    (table(ETHER, family="bridge"), packet(hook=FRAMES, ether_type=0x8100), DROP),
    (table("ip saddr 10.0.0.1 drop", family="bridge"), packet(hook=FRAMES, ether_type=0x8100), ACCEPT),
]


@pytest.mark.parametrize(("walked", "sent", "decision"), HOOKS)
def test_only_base_chains_of_the_packets_hook_are_walked(
    walked: Table, sent: Packet, decision: Decision
) -> None:
    assert trace([walked], sent).decision is decision


def test_accepting_in_one_table_leaves_the_next_its_say() -> None:
    found = trace([table("accept"), table("drop")], packet())

    assert (found.decision, found.chain, found.rule) == (DROP, "base", 0)
    assert [step.action for step in found.steps] == ["accept", "drop"]


def test_steps_tell_each_rule_that_matched_and_what_it_did() -> None:
    found = trace([table("tcp dport 81 drop; counter; ip saddr vmap @m4; jump dropping")], packet())

    assert [(step.chain, step.index, step.rule, step.action) for step in found.steps] == [
        ("base", 1, "counter", "continue"),
        ("base", 2, "ip saddr vmap @m4", "jump allowed"),
        ("allowed", 0, "return", "return"),
        ("base", 3, "jump dropping", "jump dropping"),
        ("dropping", 0, "counter", "continue"),
        ("dropping", 1, "drop", "drop"),
    ]


@pytest.mark.parametrize("rule", ["ip saddr @gone drop", "ip saddr vmap @gone", "jump gone"])
def test_a_table_with_a_reference_to_nothing_is_not_walked(rule: str) -> None:
    with pytest.raises(InvalidNftError, match="gone"):
        Walker([table(rule)])


WRONG_PACKETS: list[dict[str, Any]] = [
    {"destination": IPv6Address("fd00::2")},
    {"destination_port": None},
    {"protocol": 1},
    {"protocol": 58, "destination_port": None},
]


@pytest.mark.parametrize("changes", WRONG_PACKETS)
def test_a_packet_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidNftError):
        packet(**changes)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
    protocol = draw(st.sampled_from([1, 6, 17, 132, 136]))
    port = draw(st.integers(0, 65535)) if protocol in PORT_FIELDS else None
    return packet(
        source=draw(addresses), destination=draw(addresses), protocol=protocol, destination_port=port
    )


@given(tables(), packets())
@settings(max_examples=200, deadline=None)
def test_verdict_and_trace_agree_and_the_last_step_is_the_decision(walked: Table, sent: Packet) -> None:
    walker = Walker([walked])

    found = walker.trace(sent)

    assert walker.verdict(sent) is found.decision
    if found.rule is not None:
        assert (found.steps[-1].chain, found.steps[-1].index) == (found.chain, found.rule)
        assert found.steps[-1].action == found.decision.value
