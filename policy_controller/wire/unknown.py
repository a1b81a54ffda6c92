"""Where a message holds a field that this end does not know, so that a refusal names it.

Knows protobuf's unknown fields. Knows no message, and does not judge.
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from compilers.model.faults import FieldPath

MOST_PARTS: Final = 10_000
"""So many parts of a message are looked at; what is farther behind is not named."""


def has_unknown(message: Message) -> bool:
    """Whether it holds, at any depth, a field that this end does not know."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    # Sizes count unknown fields at any depth; comparing them costs no walk in Python.
    return known.ByteSize() != message.ByteSize()


def first_unknown(message: Message) -> tuple[FieldPath, int] | None:
    """The way to the first part with an unknown field, and the field's number; None when it was not found."""
    for _, (path, part) in zip(range(MOST_PARTS), _parts((), message), strict=False):
        fields = UnknownFieldSet(part)
        if len(fields):
            return path, fields[0].field_number
    return None


def _parts(path: FieldPath, message: Message) -> Iterator[tuple[FieldPath, Message]]:
    yield path, message
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if isinstance(value, Message):
            yield from _parts((*path, field.name), value)
            continue
        for index, part in enumerate(value):
            yield from _parts((*path, field.name, index), part)
