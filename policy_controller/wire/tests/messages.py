"""One valid snapshot and one valid delta that use every part, for tests that break them, and ways to break them."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from compilers.model.faults import ObjectRef
from compilers.model.words import Direction, Family, Protocol
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import (
    BlockSet,
    ClassRule,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortSet,
    PortSpan,
    RuleRef,
)
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage, Stands

V4, V4B, V6 = ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")
PEERS: Final = content_name(NameKind.PEER_SET, ("peers",))
OTHER_PEERS: Final = content_name(NameKind.PEER_SET, ("others",))
PORTS: Final = content_name(NameKind.PORT_SET, ("ports",))
STANDS: Final = Stands(1, 2, 3)
ENDED: Final = frozenset({V4B, V6})


def rule_set(*peers: PeerSet, number: int = 80) -> RuleSet:
    """A rule set with two of everything where order matters."""
    block = BlockSet(Family.IPV4, ((0, 255), (512, 1023)))
    policies = (ObjectRef("NetworkPolicy", "a", "deny"), ObjectRef("NetworkPolicy", "a", "web"))
    rules = (
        ClassRule(None, PortSpan(Protocol.TCP, number, number), RuleRef("a", "web", 0)),
        ClassRule(PEERS, None, RuleRef("a", "web", 1)),
        ClassRule(block.name, PORTS, RuleRef("a", "web", 2)),
    )
    gates = [PolicyClass(direction, policies, rules) for direction in Direction]
    return RuleSet.of(
        "node-1",
        peer_sets=[PeerSet(PEERS, frozenset({V4, V4B, V6})), *peers],
        port_sets=[PortSet(PORTS, frozenset({(V4, Protocol.TCP, number), (V6, Protocol.UDP, 53)}))],
        block_sets=[block],
        classes=gates,
        pods=[
            PodEntry("uid-1", "a", "web-1", (V4, V6), gates[0].name, gates[1].name),
            PodEntry("uid-2", "a", "web-2"),
        ],
        legend={
            V4: LegendEntry("a", "web-1", "uid-1", "Deployment", "web"),
            V4B: LegendEntry("b", "client", "uid-9"),
        },
    )


def snapshot() -> pb.OperatorMessage:
    """A snapshot with every kind of part."""
    return encode_operator(SnapshotMessage(1, STANDS, rule_set(PeerSet(OTHER_PEERS)), ENDED))


def delta() -> pb.OperatorMessage:
    """A delta with most kinds of change."""
    old, new = rule_set(PeerSet(OTHER_PEERS, frozenset({V6}))), rule_set(PeerSet(OTHER_PEERS), number=81)
    return encode_operator(DeltaMessage(1, 2, STANDS, digest_of(new), difference(old, new), ENDED))


def parts(message: Message) -> Iterator[Message]:
    """The message and every message inside it, as they are stored: what is changed there is changed in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if field.is_repeated else (value,):
            yield from parts(part)


@st.composite
def edits(draw: st.DrawFn) -> Callable[[Message], None]:
    """A change of one field of one part: cleared, repeated, or given another value of its type."""
    part_number, field_number = draw(st.integers(0, 200)), draw(st.integers(0, 30))
    value = draw(_VALUES)
    kind = draw(st.sampled_from(("clear", "repeat", "drop", "set", "reverse")))

    def edit(message: Message) -> None:
        found = list(parts(message))
        part = found[part_number % len(found)]
        fields = part.DESCRIPTOR.fields
        if fields:
            _edit(part, fields[field_number % len(fields)].name, kind, value)

    return edit


_VALUES: Final = st.fixed_dictionaries(
    {
        str: st.sampled_from(("", "a", "A b", "\x1b", "a" * 300, "\u2028", PEERS, PORTS, OTHER_PEERS)),
        bytes: st.binary(max_size=40) | st.sampled_from((b"\0" * 16, b"\xff" * 32, bytes(range(1, 15)))),
        int: st.integers(0, (1 << 32) - 1) | st.sampled_from((0, 1, 6, 17, 132, 65535, 65536)),
    }
)


def _edit(part: Message, name: str, kind: str, values: dict[type, object]) -> None:
    field = part.DESCRIPTOR.fields_by_name[name]
    if kind == "clear":
        part.ClearField(name)
    elif field.is_repeated:
        entries = list(getattr(part, name))
        match kind:
            case "repeat":
                entries += entries[:1]
            case "drop":
                entries = entries[1:]
            case _:
                entries.reverse()
        part.ClearField(name)
        getattr(part, name).extend(entries)
    elif field.message_type is not None:
        getattr(part, name).SetInParent()
    elif field.type == FieldDescriptor.TYPE_ENUM:
        setattr(part, name, int(str(values[int])) % (1 << 31))
    else:
        setattr(part, name, values[type(field.default_value)])
