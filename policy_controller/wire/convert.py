"""Messages as values and back: the border where everything hostile is refused.

Knows versions, generations and digests. The parts of a rule set are encode.py's and decode.py's. Whatever arrives, the
only error raised here is Refused, and nothing of a refused message is handed on.
"""

from typing import Final

from google.protobuf.message import Message

from compilers.model.faults import InvalidField
from compilers.nftables.words import TableFamily
from compilers.ruleset.digest import MODULUS, digest_of
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire import legal
from policy_controller.wire.decode import Reader
from policy_controller.wire.encode import encode_delta, encode_ended, encode_rule_set
from policy_controller.wire.fields import ascending, at, each, said
from policy_controller.wire.limits import LIMITS, Limits
from policy_controller.wire.messages import (
    PROTOCOL_VERSION,
    Ack,
    DeltaMessage,
    FreshToken,
    Hello,
    InForce,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    SnapshotMessage,
    Stands,
    Tampered,
)
from policy_controller.wire.refused import Refused, plain
from policy_controller.wire.unknown import first_unknown, has_unknown

DIGEST_BYTES: Final = 16
NACK_CAUSES: Final = {
    NackCause.INVALID: pb.NACK_CAUSE_INVALID,
    NackCause.OLDER: pb.NACK_CAUSE_OLDER,
    NackCause.BASE: pb.NACK_CAUSE_BASE,
    NackCause.KERNEL: pb.NACK_CAUSE_KERNEL,
}
CAUSE_BY_NUMBER: Final[dict[int, NackCause]] = {number: cause for cause, number in NACK_CAUSES.items()}

FAMILIES: Final = {TableFamily.INET: pb.TABLE_FAMILY_INET, TableFamily.BRIDGE: pb.TABLE_FAMILY_BRIDGE}
FAMILY_BY_NUMBER: Final[dict[int, TableFamily]] = {number: family for family, number in FAMILIES.items()}
NODE_KINDS: Final = ("hello", "ack", "nack", "token", "tampered")
LATEST: Final = 253_402_300_799
"""The last second of the year 9999: what is later has no date."""


def encode_operator(value: OperatorMessage, limits: Limits = LIMITS) -> pb.OperatorMessage:
    """The message for a snapshot or delta; raises Refused for what the wire has no word for or no room."""
    message = pb.OperatorMessage(protocol_version=PROTOCOL_VERSION)
    try:
        match value:
            case SnapshotMessage():
                message.snapshot.generation = value.generation
                message.snapshot.stands.CopyFrom(_stands(value.stands))
                message.snapshot.digest = _digest(digest_of(value.rule_set))
                encode_rule_set(value.rule_set, message.snapshot)
                encode_ended(value.ended, message.snapshot)
            case DeltaMessage():
                message.delta.base_generation = value.base_generation
                message.delta.generation = value.generation
                message.delta.stands.CopyFrom(_stands(value.stands))
                message.delta.digest = _digest(value.digest)
                encode_delta(value.delta, message.delta)
                encode_ended(value.ended, message.delta)
    except InvalidField as fault:
        raise Refused.because(fault, "message") from fault
    except UnicodeEncodeError as error:
        raise Refused("message", f"holds text that is not Unicode: {error.reason}") from error
    _check_size(message, limits)
    return message


def decode_operator(message: pb.OperatorMessage, limits: Limits = LIMITS) -> OperatorMessage:
    """The snapshot or delta that arrived; raises Refused for anything that is not legal in every part."""
    try:
        _check_whole(message, message.protocol_version, limits)
        if said("message", message.WhichOneof("kind"), ("snapshot", "delta")) == "snapshot":
            return _snapshot(message.snapshot, limits)
        return _delta(message.delta, limits)
    except InvalidField as fault:
        raise Refused.because(fault, "message") from fault


def encode_node(value: NodeMessage) -> pb.NodeMessage:
    """The message for whatever a node says."""
    match value:
        case Hello():
            hello = pb.Hello(
                protocol_version=PROTOCOL_VERSION, node=value.node, capabilities=value.capabilities
            )
            if value.in_force is not None:
                hello.in_force.generation = value.in_force.generation
                hello.in_force.digest = _digest(value.in_force.digest)
                hello.in_force.stands.CopyFrom(_stands(value.in_force.stands))
            return pb.NodeMessage(hello=hello)
        case Ack():
            return pb.NodeMessage(ack=pb.Ack(generation=value.generation, digest=_digest(value.digest)))
        case Nack():
            return pb.NodeMessage(
                nack=pb.Nack(
                    generation=value.generation,
                    cause=NACK_CAUSES[value.cause],
                    object=plain(value.object),
                    reason=plain(value.reason),
                    generation_in_force=value.generation_in_force,
                )
            )
        case FreshToken():
            return pb.NodeMessage(token=pb.Token(token=value.token))
        case Tampered():
            return pb.NodeMessage(
                tampered=pb.Tampered(
                    process=plain(value.process),
                    number=value.number,
                    tables=[FAMILIES[family] for family in value.tables],
                    times=value.times,
                    at=value.at,
                )
            )


def decode_node(message: pb.NodeMessage, limits: Limits = LIMITS) -> NodeMessage:
    """What a node said; raises Refused for anything else. Texts of a nack and names of processes are fit to print."""
    try:
        kind = said("message", message.WhichOneof("kind"), NODE_KINDS)
        version = message.hello.protocol_version if kind == "hello" else PROTOCOL_VERSION
        _check_whole(message, version, limits)
        match kind:
            case "hello":
                return at("hello", lambda hello: _hello(hello, limits), message.hello)
            case "ack":
                return Ack(message.ack.generation, at("ack", _read_digest, message.ack.digest))
            case "nack":
                return at("nack", _nack, message.nack)
            case "tampered":
                return at("tampered", _tampered, message.tampered)
            case "token":
                return at("token", lambda token: FreshToken(legal.bearer(token.token)), message.token)
            case _:
                raise InvalidField("is not sent in protocol version 1", (kind,))
    except InvalidField as fault:
        raise Refused.because(fault, "message") from fault


def is_of_unknown_kind(message: pb.NodeMessage) -> bool:
    """Whether a node says something that this protocol version has no word for, and nothing else.

    A report of a newer enforcer, then: what is answered, or changes what is in force, is said by the kinds that are known.
    """
    return message.WhichOneof("kind") is None and message.ByteSize() > 0


def _check_whole(message: Message, version: int, limits: Limits) -> None:
    """What holds for every message. The version first: a newer peer's fields are unknown because it is newer."""
    if version != PROTOCOL_VERSION:
        raise InvalidField(f"is {version}, this end speaks {PROTOCOL_VERSION}", ("protocol_version",))
    _check_size(message, limits)
    if has_unknown(message):
        path, number = first_unknown(message) or ((), 0)
        which = f"field {number}, which" if number else "a field that"
        raise InvalidField(f"has {which} protocol version 1 does not know", path)


def _check_size(message: Message, limits: Limits) -> None:
    if message.ByteSize() > limits.message_bytes:
        raise Refused(
            "message", f"has {message.ByteSize()} bytes, at most {limits.message_bytes} are accepted"
        )


def _snapshot(message: pb.Snapshot, limits: Limits) -> SnapshotMessage:
    generation = at("generation", _generation, message.generation)
    digest = at("digest", _read_digest, message.digest)
    reader = Reader(limits)
    rule_set = reader.rule_set(message)
    if digest_of(rule_set) != digest:
        raise InvalidField("is not that of the rule set", ("digest",))
    return SnapshotMessage(
        generation, _read_stands(message.stands), rule_set, at("ended", reader.ended, message.ended)
    )


def _delta(message: pb.Delta, limits: Limits) -> DeltaMessage:
    reader = Reader(limits)
    return DeltaMessage(
        base_generation=at("base_generation", _generation, message.base_generation),
        generation=at("generation", _generation, message.generation),
        stands=_read_stands(message.stands),
        digest=at("digest", _read_digest, message.digest),
        delta=reader.delta(message),
        ended=at("ended", reader.ended, message.ended),
    )


def _hello(message: pb.Hello, limits: Limits) -> Hello:
    in_force = None
    if message.HasField("in_force"):
        in_force = InForce(
            at("generation", _generation, message.in_force.generation),
            at("digest", _read_digest, message.in_force.digest),
            _read_stands(message.in_force.stands),
        )
    return Hello(
        node=at("node", legal.subdomain, message.node),
        in_force=in_force,
        capabilities=each("capabilities", legal.capability, message.capabilities, limits.capabilities),
    )


def _nack(message: pb.Nack) -> Nack:
    if message.cause not in CAUSE_BY_NUMBER:
        raise InvalidField(f"{message.cause} is not a value that protocol version 1 has", ("cause",))
    return Nack(
        generation=message.generation,
        cause=CAUSE_BY_NUMBER[message.cause],
        object=plain(message.object),
        reason=plain(message.reason),
        generation_in_force=message.generation_in_force,
    )


def _tampered(message: pb.Tampered) -> Tampered:
    if message.times == 0:
        raise InvalidField("counts from 1", ("times",))
    if message.at > LATEST:
        raise InvalidField("is not a time before the year 10000", ("at",))
    tables = ascending(
        "tables", each("tables", _family, message.tables, len(FAMILIES)), lambda family: FAMILIES[family]
    )
    if not tables:
        raise InvalidField("are missing", ("tables",))
    return Tampered(plain(message.process), message.number, tables, message.times, message.at)


def _family(number: int) -> TableFamily:
    if number not in FAMILY_BY_NUMBER:
        raise InvalidField(f"{number} is not a value that protocol version 1 has")
    return FAMILY_BY_NUMBER[number]


def _generation(number: int) -> int:
    if number == 0:
        raise InvalidField("counts from 1")
    return number


def _digest(digest: int) -> bytes:
    return (digest % MODULUS).to_bytes(DIGEST_BYTES, "big")


def _read_digest(digest: bytes) -> int:
    if len(digest) != DIGEST_BYTES:
        raise InvalidField(f"has {len(digest)} bytes instead of {DIGEST_BYTES}")
    return int.from_bytes(digest, "big")


def _stands(stands: Stands) -> pb.Stands:
    return pb.Stands(
        pods=stands.pods,
        namespaces=stands.namespaces,
        policies=stands.policies,
        settings=stands.settings,
    )


def _read_stands(message: pb.Stands) -> Stands:
    return Stands(message.pods, message.namespaces, message.policies, message.settings)
