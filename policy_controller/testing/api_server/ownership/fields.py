"""The fields of a document as paths, as `fieldsV1` writes them.

A path is a tuple of steps: `f:name` for a field, `k:{"name":"web"}` for the item of a list with keys, `v:"x"` for the
value of a set. What is merged as a whole has one path and no parts. Source: the API concepts' "Field management".
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.schemas.merges import ListKind, ListMerge
from policy_controller.testing.api_server.schemas.shapes import Field, ListOf, MapOf, Named

Path = tuple[str, ...]
Paths = frozenset[Path]
Leaves = Mapping[Path, object]

ITEM: Final = object()
"""Stands for a list's item as such: it is there, whatever it holds."""

SERVER_OWNED: Final = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "creationTimestamp",
                "deletionGracePeriodSeconds",
                "deletionTimestamp",
                "generation",
                "managedFields",
                "name",
                "namespace",
                "resourceVersion",
                "selfLink",
                "uid",
            )
        ),
    }
)


def leaves_of(document: JsonObject, kind: Named) -> Leaves:
    """Every path of a document with its value, without those that belong to the server."""
    found = dict(_object(document, kind, ()))
    return {
        path: value
        for path, value in found.items()
        if path[:2] not in SERVER_OWNED and path[:1] not in SERVER_OWNED
    }


def _object(document: JsonObject, shape: Named | MapOf, path: Path) -> Iterator[tuple[Path, object]]:
    for name, value in document.items():
        field = shape.fields.get(name) if isinstance(shape, Named) else Field(shape.value, required=False)
        if field is not None and value is not None:
            yield from _value(value, field, (*path, f"f:{name}"))


def _value(value: Any, field: Field, path: Path) -> Iterator[tuple[Path, object]]:  # noqa: ANN401 - any JSON value
    shape = field.shape
    if field.atomic or value in ({}, []):
        yield path, value
    elif isinstance(shape, Named | MapOf) and isinstance(value, dict):
        yield from _object(value, shape, path)
    elif isinstance(shape, ListOf) and isinstance(value, list) and field.merge.kind is not ListKind.ATOMIC:
        yield from _items(value, shape, field.merge, path)
    else:
        yield path, value


def _items(values: list[Any], shape: ListOf, merge: ListMerge, path: Path) -> Iterator[tuple[Path, object]]:
    for value in values:
        place = (*path, step_of(value, merge))
        yield place, ITEM
        if isinstance(shape.item, Named) and isinstance(value, dict):
            yield from _object(value, shape.item, place)


def step_of(value: Any, merge: ListMerge) -> str:  # noqa: ANN401 - any JSON value
    """The step that leads to an item of a list that is a set or has keys."""
    if merge.kind is ListKind.SET or not isinstance(value, dict):
        return f"v:{_canonical(value)}"
    defaults = dict(merge.defaults)
    keys = {key: value.get(key, defaults.get(key)) for key in merge.keys}
    return f"k:{_canonical({key: found for key, found in keys.items() if found is not None})}"


def _canonical(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def to_fields_v1(paths: Iterable[Path]) -> JsonObject:
    """The `fieldsV1` of these paths."""
    trie: JsonObject = {}
    for path in sorted(paths):
        node = trie
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _without_dots(trie)


def _without_dots(trie: JsonObject) -> JsonObject:
    """A path without paths below it needs no dot."""
    return {} if set(trie) == {"."} else {step: _without_dots(inner) for step, inner in trie.items()}


def from_fields_v1(trie: JsonObject) -> Paths:
    """The paths of a `fieldsV1`; what is malformed is left out."""
    return frozenset(_paths(trie, ()))


def _paths(trie: JsonObject, path: Path) -> Iterator[Path]:
    inner = {step: value for step, value in trie.items() if step != "." and isinstance(value, dict)}
    if path and ("." in trie or not inner):
        yield path
    for step, value in inner.items():
        yield from _paths(value, (*path, step))


def dotted(path: Path) -> str:
    """A path as conflicts name it: `.spec.template.spec.containers[name="web"].image`."""
    return "".join(_dotted(step) for step in path)


def _dotted(step: str) -> str:
    mark, _, text = step.partition(":")
    if mark == "f":
        return f".{text}"
    if mark == "v":
        return f"[={text}]"
    keys = msgspec.json.decode(text)
    return "[" + ",".join(f"{name}={_canonical(value)}" for name, value in sorted(keys.items())) + "]"
