"""Bodies in protobuf: kubectl sends them with what it makes itself (`create namespace`, `auth can-i`, `create token`).

Knows the numbers of fields (`numbers.json`, as the API's `generated.proto` files have them; a number never changes its
meaning) for the kinds that are sent so. A field without a known number refuses the body: nothing is lost unseen.
Status is not read, as no such request may set it. Answers are JSON, which every client takes as well.
"""

import base64
import datetime
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import bad_request, unsupported_media_type

MAGIC: Final = b"k8s\0"
DELETE_OPTIONS: Final = "meta.v1.DeleteOptions"
UNREAD: Final = "-"
_SIGN: Final = 1 << 63


@cache
def numbers() -> Mapping[str, Mapping[str, str]]:
    """By type and number of a field: its name and, after a colon, its shape; no name where it is written inline."""
    text = files(__package__).joinpath("numbers.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


def read_protobuf(body: bytes) -> JsonObject:
    """The object of a body in Kubernetes' protobuf envelope.

    Raises:
        ApiError: 400 for a body that is malformed or has fields that are not known, 415 for a kind that is not known.
    """
    if not body.startswith(MAGIC):
        raise bad_request("the object provided is unrecognized: no protobuf of Kubernetes")
    envelope = dict(_fields(body[len(MAGIC) :]))
    named = {number: _text(value) for number, value in _fields(envelope.get(1, b""))}
    api_version, kind = named.get(1, ""), named.get(2, "")
    name = DELETE_OPTIONS if kind == "DeleteOptions" else _type_name(api_version, kind)
    if name not in numbers():
        raise unsupported_media_type(["application/json", "application/yaml"])
    return {"apiVersion": api_version, "kind": kind, **_message(name, envelope.get(2, b""))}


def _type_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    return f"{group.partition('.')[0] or 'core'}.{version}.{kind}"


def _fields(raw: object) -> Iterator[tuple[int, Any]]:
    """The fields of a message in their order: numbers, and values as they stand on the wire."""
    if not isinstance(raw, bytes):
        raise bad_request("the object provided is unrecognized: a message is not length-delimited")
    try:
        found = UnknownFieldSet(Empty.FromString(raw))
        for index in range(len(found)):
            yield found[index].field_number, found[index].data
    except DecodeError as fault:
        raise bad_request(f"the object provided is unrecognized: {fault}") from fault


def _message(name: str, raw: bytes) -> JsonObject:
    known, result = numbers()[name], {}
    for number, value in _fields(raw):
        word = known.get(str(number))
        if word is None:
            raise bad_request(f"field {number} of {name} is not known in protobuf; send JSON")
        field, _, shape = word.partition(":")
        if shape == UNREAD:
            continue
        if not field:
            result.update(_message(shape, value))
        elif shape.startswith("["):
            result.setdefault(field, []).append(_value(shape[1:-1], value))
        elif shape.startswith("{"):
            entry = dict(_fields(value))
            result.setdefault(field, {})[_text(entry.get(1, b""))] = _value(shape[1:-1], entry.get(2, b""))
        else:
            # Go writes every field that is no pointer: an empty text or time is an absent one.
            result[field] = (
                _value(shape, value) or None if shape in {"string", "time"} else _value(shape, value)
            )
    return {field: value for field, value in result.items() if value is not None}


def _value(shape: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    match shape:
        case "string":
            return _text(value)
        case "integer":
            return value - (_SIGN << 1) if value >= _SIGN else value
        case "boolean":
            return bool(value)
        case "bytes":
            return base64.b64encode(value).decode()
        case "quantity":
            return _text(dict(_fields(value)).get(1, b""))
        case "int-or-string":
            parts = dict(_fields(value))
            return _text(parts.get(3, b"")) if parts.get(1) else _value("integer", parts.get(2, 0))
        case "time":
            seconds = dict(_fields(value)).get(1)
            moment = None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
            return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        case name:
            return _message(name, value)


def _text(value: object) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as fault:
        raise bad_request(f"the object provided is unrecognized: {fault}") from fault
