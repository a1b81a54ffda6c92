"""OpenAPI 3: the served kinds described for clients that ask before they write (kubectl explain, apply, create).

Made from the table of resources and the shapes of kinds. Descriptions of fields are not in it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from policy_controller.testing.api_server.discovery import VERSION
from policy_controller.testing.api_server.documents import JsonObject, encode
from policy_controller.testing.api_server.errors import no_such_path
from policy_controller.testing.api_server.resources import (
    RESOURCES,
    SUBRESOURCES,
    Keeping,
    Resource,
    Scope,
)
from policy_controller.testing.api_server.schemas.merges import RETAINING_OBJECTS, ListKind
from policy_controller.testing.api_server.schemas.shapes import (
    Field,
    Free,
    ListOf,
    MapOf,
    Named,
    Scalar,
    Shape,
    kind_named,
)

_GVK: Final = "x-kubernetes-group-version-kind"
_META: Final = "meta.v1."
_SCALARS: Final[Mapping[str, JsonObject]] = {
    "boolean": {"type": "boolean"},
    "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "string": {"type": "string"},
}
_WRITES: Final = ("dryRun", "fieldManager", "fieldValidation")
# kubectl asks here whether the server knows fieldValidation and dryRun.
_QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    "delete": ("dryRun", "gracePeriodSeconds", "propagationPolicy"),
    "get": (),
    "patch": (*_WRITES, "force"),
    "post": _WRITES,
    "put": _WRITES,
}
_METHODS: Final[Mapping[str, Mapping[str, str]]] = {
    "collection": {"create": "post", "deletecollection": "delete", "list": "get"},
    "object": {"delete": "delete", "get": "get", "patch": "patch", "update": "put"},
}


V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# A document of version 2 without any definition: its first field says the version. kubectl asks for it before it
# creates a kind without PATCH, such as a review, and checks nothing where nothing is defined.
V2_EMPTY: Final = b"\x0a\x032.0"


def index() -> JsonObject:
    """/openapi/v3: where the documents are; the hash lets clients keep them."""
    paths = {}
    for group, version in sorted({(row.group, row.version) for row in RESOURCES}):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = hashlib.sha256(document(group, version)).hexdigest()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


@cache
def document(group: str, version: str) -> bytes:
    """/openapi/v3/api/VERSION and /openapi/v3/apis/GROUP/VERSION.

    Raises:
        ApiError: 404 for what is not served.
    """
    rows = [row for row in RESOURCES if (row.group, row.version) == (group, version)]
    if not rows:
        raise no_such_path()
    return encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
            "paths": {path: item for row in rows for path, item in _paths(row)},
            "components": {"schemas": _schemas(rows)},
        }
    )


def _paths(row: Resource) -> Iterator[tuple[str, JsonObject]]:
    root = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    base = f"{root}/namespaces/{{namespace}}" if row.scope is Scope.NAMESPACED else root
    kind = (row.api_version, row.kind)
    yield f"{base}/{row.plural}", _item(row.verbs, "collection", kind)
    if row.keeping is Keeping.ANSWERED:
        return
    yield f"{base}/{row.plural}/{{name}}", _item(row.verbs, "object", kind)
    for name in row.subresources:
        part = SUBRESOURCES[name]
        of_part = (part.api_version or row.api_version, part.kind or row.kind)
        if part.refused:
            continue
        item = _item(part.verbs, "object", of_part) | _item(part.verbs, "collection", of_part)
        yield f"{base}/{row.plural}/{{name}}/{name}", item


def _item(verbs: tuple[str, ...], shape: str, kind: tuple[str, str]) -> JsonObject:
    methods = (method for verb, method in _METHODS[shape].items() if verb in verbs)
    return {method: _operation(method, kind) for method in methods}


def _operation(method: str, kind: tuple[str, str]) -> JsonObject:
    ref = {"$ref": f"#/components/schemas/{_name(kind_named(*kind).name)}"}
    content = {"application/json": {"schema": ref}}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in _QUERIES[method]
    ]
    return {
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}},
        _GVK: _group_version_kind(*kind),
    }


def _group_version_kind(api_version: str, kind: str) -> JsonObject:
    group, _, version = api_version.rpartition("/")
    return {"group": group, "version": version, "kind": kind}


def _kinds(rows: list[Resource]) -> dict[str, tuple[str, str]]:
    """The types that are kinds of their own, with their API version."""
    kinds = [(row.api_version, row.kind) for row in rows]
    parts = (SUBRESOURCES[name] for row in rows for name in row.subresources)
    kinds += [(part.api_version, part.kind) for part in parts if part.kind]
    return {kind_named(*kind).name: kind for kind in kinds}


def _schemas(rows: list[Resource]) -> JsonObject:
    kinds = _kinds(rows)
    schemas: JsonObject = {}
    waiting = sorted(kinds)
    while waiting:
        name = waiting.pop()
        if _name(name) in schemas:
            continue
        fields = Named(name).fields
        schemas[_name(name)] = _object(name, fields, kinds.get(name))
        waiting.extend(inner for field in fields.values() for inner in _mentioned(field.shape))
    return dict(sorted(schemas.items()))


def _object(name: str, fields: Mapping[str, Field], kind: tuple[str, str] | None) -> JsonObject:
    written: JsonObject = {
        "type": "object",
        "properties": {field: _property(f"{name}.{field}", known) for field, known in fields.items()},
    }
    required = [field for field, known in fields.items() if known.required]
    if required:
        written["required"] = required
    if kind is not None:
        written[_GVK] = [_group_version_kind(*kind)]
    return written


def _property(path: str, field: Field) -> JsonObject:
    written = _shape(field.shape)
    if path in RETAINING_OBJECTS:
        written["x-kubernetes-patch-strategy"] = "retainKeys"
    if field.atomic:
        written["x-kubernetes-map-type"] = "atomic"
    if not isinstance(field.shape, ListOf):
        return written
    merge = field.merge
    written["x-kubernetes-list-type"] = merge.kind.value
    if merge.kind is ListKind.MAP:
        written["x-kubernetes-list-map-keys"] = list(merge.keys)
    if merge.patch_key or merge.merges_values:
        written["x-kubernetes-patch-strategy"] = "merge,retainKeys" if merge.retains_keys else "merge"
    if merge.patch_key:
        written["x-kubernetes-patch-merge-key"] = merge.patch_key
    return written


def _shape(shape: Shape) -> JsonObject:
    match shape:
        case Free():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Scalar(word):
            return dict(_SCALARS[word])
        case ListOf(item):
            return {"type": "array", "items": _shape(item)}
        case MapOf(value):
            return {"type": "object", "additionalProperties": _shape(value)}
        case Named(name):
            # As the real one writes references, so that marks can stand beside them.
            return {"allOf": [{"$ref": f"#/components/schemas/{_name(name)}"}]}


def _mentioned(shape: Shape) -> Iterator[str]:
    match shape:
        case ListOf(inner) | MapOf(inner):
            yield from _mentioned(inner)
        case Named(name):
            yield name
        case _:
            return


def _name(name: str) -> str:
    """A type as the API's own description calls it."""
    root = "io.k8s.apimachinery.pkg.apis." if name.startswith(_META) else "io.k8s.api."
    return root + name
