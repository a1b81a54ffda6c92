"""JSON objects as the API speaks them, and the two spellings of a stored one.

An object at rest is its JSON text without `kind` and `apiVersion`: that is how it stands inside a list; watch events
and single answers put the two in front. Knows nothing of what the fields mean.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from policy_controller.testing.api_server.resources import Resource

JsonObject = dict[str, Any]

_ORDER: Final = ("metadata", "spec", "status")


def encode(document: object) -> bytes:
    """JSON text, compact."""
    return msgspec.json.encode(document)


def at_rest(body: JsonObject) -> bytes:
    """The text that is stored: metadata, spec and status first, then the other fields as they came."""
    ordered: JsonObject = {name: body[name] for name in _ORDER if name in body}
    ordered.update(
        (name, value) for name, value in body.items() if name not in {"kind", "apiVersion", *_ORDER}
    )
    return encode(ordered)


def body_of(raw: bytes) -> JsonObject:
    """A fresh object that the caller may change."""
    body: JsonObject = msgspec.json.decode(raw)
    return body


def in_list(resource: Resource, raw: bytes) -> bytes:
    """The object as an item of a list of this resource."""
    if not resource.renamed:
        return raw
    return encode(renamed(body_of(raw), resource.renamed.items()))


def alone(resource: Resource, raw: bytes) -> bytes:
    """The object as a whole document of this resource."""
    head = f'{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'.encode()
    return head + in_list(resource, raw)[1:]


def as_stored(resource: Resource, body: JsonObject) -> JsonObject:
    """A document of this resource with its fields called as they are in storage, and without nulls at the top.

    A null field is an absent one to the real server's decoder.
    """
    present = {name: value for name, value in body.items() if value is not None}
    return renamed(present, ((here, stored) for stored, here in resource.renamed.items()))


def renamed(body: JsonObject, names: Iterable[tuple[str, str]]) -> JsonObject:
    """The object with some of its top-level fields called otherwise."""
    calls = dict(names)
    return {calls.get(name, name): value for name, value in body.items()}


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value as a Go decoder sees it: a null field is absent, a null in a list is an empty object."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [{} if inner is None else without_nulls(inner) for inner in value]
    return value


def metadata_of(body: JsonObject) -> JsonObject:
    """The object's metadata, in place; created when absent."""
    metadata: JsonObject = body.setdefault("metadata", {})
    return metadata
