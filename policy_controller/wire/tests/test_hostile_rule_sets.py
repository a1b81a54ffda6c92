"""A rule set on the wire that is wrong in one field, whole or as a change: it is refused as a whole, by the name of that field."""

from collections.abc import Callable, MutableSequence

import pytest
from google.protobuf.message import Message

from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator
from policy_controller.wire.refused import Refused
from policy_controller.wire.tests.messages import PEERS, PORTS, delta, snapshot


def set_to(part: Message, **fields: object) -> None:
    for name, value in fields.items():
        setattr(part, name, value)


def swap(fields: MutableSequence[str], first: int, second: int) -> None:
    fields[first], fields[second] = fields[second], fields[first]


BROKEN_SNAPSHOTS: list[tuple[str, Callable[[pb.Snapshot], object], str]] = [
    ("no generation", lambda it: it.ClearField("generation"), "generation: counts from 1"),
    ("short digest", lambda it: set_to(it, digest=b"12"), "digest: has 2 bytes instead of 16"),
    ("other digest", lambda it: set_to(it, digest=b"1" * 16), "digest: is not that of the rule set"),
    ("node that is no name", lambda it: set_to(it, node="No de"), "node: is not a DNS subdomain"),
    ("node too long", lambda it: set_to(it, node="n" * 254), "node: is not a DNS subdomain"),
    (
        "set name",
        lambda it: set_to(it.peer_sets[0], name="p-1; flush ruleset"),
        r"peer_sets\[0\].name: is not a name",
    ),
    (
        "port set among peers",
        lambda it: set_to(it.peer_sets[0], name=PORTS),
        r"peer_sets\[0\].name: is not a name",
    ),
    (
        "half an address",
        lambda it: set_to(it.peer_sets[0].addresses, ipv4=b"123"),
        r"peer_sets\[0\].addresses: IPv4: 3 bytes",
    ),
    (
        "address twice",
        lambda it: set_to(it.peer_sets[0].addresses, ipv6=b"1" * 32),
        r"peer_sets\[0\].addresses: IPv6: entries repeat",
    ),
    (
        "addresses unsorted",
        lambda it: set_to(it.peer_sets[0].addresses, ipv4=b"22221111"),
        r"peer_sets\[0\].addresses: IPv4: entries repeat or are not",
    ),
    ("set twice", lambda it: it.port_sets.append(it.port_sets[0]), r"port_sets\[1\]: repeats"),
    (
        "port 0",
        lambda it: set_to(it.port_sets[0].elements, ipv4=b"1234\x06\0\0"),
        r"port_sets\[0\].elements: 0 is not a port",
    ),
    (
        "protocol of an element",
        lambda it: set_to(it.port_sets[0].elements, ipv4=b"1234\x01\0\1"),
        r"elements: 1 is not the number of a protocol",
    ),
    (
        "content under another name",
        lambda it: set_to(it.block_sets[0], ipv4=b"00001111"),
        r"block_sets\[0\].name: is not the name of this content",
    ),
    (
        "ranges that touch",
        lambda it: set_to(it.block_sets[0], ipv4=bytes((0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3))),
        r"block_sets\[0\].ranges: overlap",
    ),
    ("no ranges said", lambda it: it.block_sets[0].ClearField("ipv4"), r"block_sets\[0\].ranges: is missing"),
    (
        "direction left out",
        lambda it: it.classes[0].ClearField("direction"),
        r"classes\[0\].direction: 0 is not a value",
    ),
    (
        "direction unknown",
        lambda it: it.classes[0].MergeFromString(b"\x10\x07"),
        r"classes\[0\].direction: 7 is not a value",
    ),
    (
        "class without policies",
        lambda it: it.classes[0].ClearField("policies"),
        r"classes\[0\].rules\[0\].policy: 1 is not the index",
    ),
    (
        "policy twice",
        lambda it: it.classes[0].policies.append(it.classes[0].policies[0]),
        r"classes\[0\].policies: names a policy twice",
    ),
    (
        "policy kind",
        lambda it: it.classes[0].policies[0].ClearField("kind"),
        r"classes\[0\].policies\[0\].kind: 0 is not",
    ),
    (
        "policy name",
        lambda it: set_to(it.classes[0].policies[0], name="{drop}"),
        r"classes\[0\].policies\[0\].name: is not a DNS subdomain",
    ),
    (
        "policy namespace",
        lambda it: set_to(it.classes[0].policies[0], namespace="a.b"),
        r"policies\[0\].namespace: is not a DNS label",
    ),
    (
        "peer left out",
        lambda it: it.classes[0].rules[0].ClearField("everyone"),
        r"classes\[0\].rules\[0\].peer: is missing",
    ),
    (
        "ports left out",
        lambda it: it.classes[0].rules[1].ClearField("every_port"),
        r"classes\[0\].rules\[1\].ports: is missing",
    ),
    (
        "protocol left out",
        lambda it: it.classes[0].rules[0].span.ClearField("protocol"),
        r"rules\[0\].span.protocol: 0 is not",
    ),
    (
        "port beyond the last",
        lambda it: set_to(it.classes[0].rules[0].span, last=65536),
        r"rules\[0\].span.ports: 80-65536 is not",
    ),
    (
        "origin elsewhere",
        lambda it: set_to(it.classes[0].rules[0], policy=2),
        r"rules\[0\].policy: 2 is not the index",
    ),
    (
        "rule that another class has",
        lambda it: set_to(it.classes[0].rules[0], index=7),
        r"classes\[0\].name: is not the name of this content",
    ),
    (
        "peer that is no set",
        lambda it: set_to(it.classes[0].rules[0], peer_set=PORTS),
        r"rules\[0\].name: is not a name of this kind",
    ),
    ("uid", lambda it: set_to(it.pods[0], uid="u\n"), r"pods\[0\].uid: is not a uid"),
    ("pod name", lambda it: set_to(it.pods[0], name="-"), r"pods\[0\].name: is not a DNS subdomain"),
    ("gate left out", lambda it: it.pods[1].ClearField("egress_open"), r"pods\[1\].egress: is missing"),
    (
        "class of the other gate",
        lambda it: set_to(it.pods[0], ingress_class=it.pods[0].egress_class),
        r"pods\[0\].name: is not a name",
    ),
    (
        "a choice about open connections that nobody knows",
        lambda it: set_to(it.pods[0], existing_connections=2),
        r"pods\[0\].existing_connections: 2 is not a value",
    ),
    ("pods out of order", lambda it: it.pods.reverse(), r"pods\[1\]: repeats or is out of order"),
    (
        "address of two pods",
        lambda it: it.pods[1].addresses.CopyFrom(it.pods[0].addresses),
        "also belongs to pod",
    ),
    ("class that is not there", lambda it: it.classes.pop(), "refers to c[ei]-[0-9a-f]+, which is not there"),
    (
        "set that is not there",
        lambda it: it.ClearField("port_sets"),
        "refers to n-[0-9a-f]+, which is not there",
    ),
    (
        "legend without addresses",
        lambda it: it.legend[0].ClearField("addresses"),
        r"legend\[0\].addresses: must not be empty",
    ),
    (
        "legend naming twice",
        lambda it: it.legend[1].addresses.CopyFrom(it.legend[0].addresses),
        r"legend\[1\]: 10.0.0.1 is named twice",
    ),
    (
        "legend without uid",
        lambda it: it.legend[0].ClearField("uid"),
        r"legend\[0\].uid: is not a uid",
    ),
    (
        "enforcement unknown",
        lambda it: it.MergeFromString(b"\x60\x02"),
        "enforcement: 2 is not a value",
    ),
    (
        "off, with classes",
        lambda it: set_to(it, enforcement=pb.POLICY_ENFORCEMENT_OFF),
        "enforcement: is off, and yet there are classes",
    ),
    ("half an ended address", lambda it: set_to(it.ended, ipv4=b"123"), "ended: IPv4: 3 bytes"),
    (
        "long workload",
        lambda it: set_to(it.legend[0], workload_kind="k" * 254),
        r"legend\[0\].workload_kind: has 254 characters",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "sentence"), [case[1:] for case in BROKEN_SNAPSHOTS], ids=[case[0] for case in BROKEN_SNAPSHOTS]
)
def test_a_snapshot_wrong_in_one_field_is_refused_by_that_field(
    spoil: Callable[[pb.Snapshot], object], sentence: str
) -> None:
    message = snapshot()
    spoil(message.snapshot)
    with pytest.raises(Refused, match=sentence):
        decode_operator(message)


BROKEN_DELTAS: list[tuple[str, Callable[[pb.Delta], object], str]] = [
    ("no base", lambda it: it.ClearField("base_generation"), "base_generation: counts from 1"),
    (
        "no change",
        lambda it: it.changed_peer_sets[0].ClearField("removed"),
        r"changed_peer_sets\[0\]: neither adds nor removes",
    ),
    (
        "both ways",
        lambda it: it.changed_peer_sets[0].added.CopyFrom(it.changed_peer_sets[0].removed),
        "adds and removes the same",
    ),
    (
        "removed class that is a set",
        lambda it: it.removed_classes.insert(0, PEERS),
        r"removed_classes\[0\].name: is not a name",
    ),
    (
        "removed out of order",
        lambda it: swap(it.removed_classes, 0, 1),
        r"removed_classes\[1\]: repeats or is out of order",
    ),
    ("ended address twice", lambda it: set_to(it.ended, ipv6=b"1" * 32), "ended: IPv6: entries repeat"),
    (
        "ended addresses unsorted",
        lambda it: set_to(it.ended, ipv4=b"22221111"),
        "ended: IPv4: entries repeat or",
    ),
    (
        "enforcement unknown",
        lambda it: it.MergeFromString(b"\xa0\x01\x02"),
        "enforcement: 2 is not a value",
    ),
    ("removed legend", lambda it: set_to(it.removed_legend, ipv4=b"1"), "removed_legend: IPv4: 1 bytes"),
]


@pytest.mark.parametrize(
    ("spoil", "sentence"), [case[1:] for case in BROKEN_DELTAS], ids=[case[0] for case in BROKEN_DELTAS]
)
def test_a_delta_wrong_in_one_field_is_refused_by_that_field(
    spoil: Callable[[pb.Delta], object], sentence: str
) -> None:
    message = delta()
    spoil(message.delta)
    with pytest.raises(Refused, match=sentence):
        decode_operator(message)
