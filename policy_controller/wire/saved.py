"""The rule set that a node keeps in a file, as bytes: a snapshot of the wire in a frame that shows any damage.

Knows the frame, and that what is in it must be as legal as what the network brings. Knows no files.

    8 bytes   MAGIC
    4 bytes   version of the frame, big-endian
    8 bytes   length of the message, big-endian
    32 bytes  SHA-256 of all the other bytes
    the rest  OperatorMessage with a snapshot (enforcement.proto); its `ended`: addresses whose connections must still end
"""

import enum
import struct
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator, encode_operator
from policy_controller.wire.limits import LIMITS
from policy_controller.wire.messages import SnapshotMessage
from policy_controller.wire.refused import Refused, plain

MAGIC: Final = b"NODERULE"
VERSION: Final = 1
FRAME: Final = struct.Struct(f">{len(MAGIC)}sIQ")
CHECKSUM_BYTES: Final = sha256().digest_size
HEADER_BYTES: Final = FRAME.size + CHECKSUM_BYTES
MOST_BYTES: Final = HEADER_BYTES + LIMITS.message_bytes
"""What a file may have; more is not even read."""


class Flaw(enum.Enum):
    """What is wrong with a saved rule set; also the label of its counter."""

    NOT_OURS = "not_ours"
    """Somebody else may have written it."""
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    """It ends too early, or too late."""
    CHECKSUM = "checksum"
    VERSION = "version"
    """Another version of the frame or of the protocol."""
    NODE = "node"
    """Of another node."""
    DIGEST = "digest"
    CONTENT = "content"
    """Its checksum is right, and what it holds is not legal."""
    UNREADABLE = "unreadable"
    """The file system does not give it."""
    KERNEL = "kernel"
    """The kernel does not take it."""


class UnfitError(Exception):
    """A saved rule set must not be used; the text is safe to print and says why."""

    def __init__(self, flaw: Flaw, reason: str) -> None:
        super().__init__(plain(reason))
        self.flaw = flaw


def encode_saved(snapshot: SnapshotMessage) -> bytes:
    """The bytes of a file. Raises Refused for what the wire has no room for."""
    message = encode_operator(snapshot).SerializeToString(deterministic=True)
    frame = FRAME.pack(MAGIC, VERSION, len(message))
    return frame + checksum(frame, message) + message


def decode_saved(content: bytes, node: str) -> SnapshotMessage:
    """What a file holds, when it is whole, legal and of this node. Raises UnfitError."""
    message = _unframed(content)
    try:
        value = decode_operator(pb.OperatorMessage.FromString(message))
    except DecodeError as error:
        raise UnfitError(Flaw.CONTENT, "holds no message") from error
    except Refused as refused:
        raise UnfitError(FLAWS.get(refused.object, Flaw.CONTENT), str(refused)) from refused
    if not isinstance(value, SnapshotMessage):
        raise UnfitError(Flaw.CONTENT, "holds a message that is no snapshot")
    if value.rule_set.node != node:
        raise UnfitError(Flaw.NODE, f"is of node {value.rule_set.node}, this is {node}")
    return value


FLAWS: Final = {"digest": Flaw.DIGEST, "protocol_version": Flaw.VERSION}
"""By the field that is refused."""


def _unframed(content: bytes) -> bytes:
    """The message in the frame. Raises UnfitError."""
    if len(content) > MOST_BYTES:
        raise UnfitError(Flaw.TOO_LARGE, f"has more than {MOST_BYTES} bytes")
    if len(content) < HEADER_BYTES:
        raise UnfitError(Flaw.TRUNCATED, f"has {len(content)} bytes, its header alone has {HEADER_BYTES}")
    frame, message = content[: FRAME.size], content[HEADER_BYTES:]
    magic, version, length = FRAME.unpack(frame)
    if magic != MAGIC:
        raise UnfitError(Flaw.CONTENT, "does not begin as a saved rule set does")
    if version != VERSION:
        raise UnfitError(Flaw.VERSION, f"is of version {version}, this enforcer reads {VERSION}")
    if length != len(message):
        raise UnfitError(Flaw.TRUNCATED, f"has {len(message)} bytes behind its header, which says {length}")
    if content[FRAME.size : HEADER_BYTES] != checksum(frame, message):
        raise UnfitError(Flaw.CHECKSUM, "is damaged: its checksum is not that of what it holds")
    return message


def checksum(frame: bytes, message: bytes) -> bytes:
    """What stands between the frame's beginning and the message, when nothing is damaged."""
    digest = sha256(frame)
    digest.update(message)
    return digest.digest()
