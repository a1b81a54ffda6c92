"""Strategic merge patch: a merge patch that knows which lists are merged, and by which key.

Knows the directives `$patch`, `$retainKeys`, `$setElementOrder` and `$deleteFromPrimitiveList`. Knows nothing of
storage. Source: the API conventions' "Strategic Merge Patch" and the behaviour that kubectl relies on.
"""

from collections.abc import Mapping
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import bad_request
from policy_controller.testing.api_server.patches.documents import Edit, decoded
from policy_controller.testing.api_server.patches.order import interleaved
from policy_controller.testing.api_server.schemas.merges import ListMerge
from policy_controller.testing.api_server.schemas.shapes import FREE, Field, ListOf, MapOf, Named, Shape

DIRECTIVE: Final = "$patch"
RETAIN: Final = "$retainKeys"
ORDER: Final = "$setElementOrder/"
DELETE_VALUES: Final = "$deleteFromPrimitiveList/"


def strategic_edit(body: bytes, kind: Named) -> Edit:
    """The edit of a strategic merge patch of a kind.

    Raises:
        ApiError: 400 for a body that is no object; the edit itself raises 400 for a directive that is not known.
    """
    patch = decoded(body)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a strategic merge patch must be an object")
    return lambda document: merged_object(document, patch, kind)


def merged_object(document: JsonObject, patch: JsonObject, shape: Shape) -> JsonObject:
    """The document with the patch put in.

    Raises:
        ApiError: 400 for a directive that is not known, or a list that does not fit one.
    """
    match patch.get(DIRECTIVE):
        case None | "merge":
            pass
        case "replace":
            kept: JsonObject = _without_directives(patch)
            return kept
        case "delete":
            return {}
        case other:
            raise bad_request(f"unknown patch type found: {other}")
    result = _retained(document, patch)
    for name, value in patch.items():
        if name.startswith(DELETE_VALUES):
            field = name.removeprefix(DELETE_VALUES)
            result[field] = [
                one for one in _list(result.get(field, []), field) if one not in _list(value, name)
            ]
    for name, value in patch.items():
        if not name.startswith("$"):
            _merge_field(result, name, value, _field(shape, name), patch.get(ORDER + name))
    for name in patch:
        field = name.removeprefix(ORDER)
        if name.startswith(ORDER) and field not in patch and field in result:
            merge = _field(shape, field).merge
            result[field] = _ordered(
                _list(result[field], field), _list(result[field], field), patch[name], merge
            )
    return result


def _retained(document: JsonObject, patch: JsonObject) -> JsonObject:
    keys = patch.get(RETAIN)
    if keys is None:
        return dict(document)
    if set(patch) - {RETAIN, DIRECTIVE} - set(_list(keys, RETAIN)):
        raise bad_request("a patch with $retainKeys names a field that is not retained")
    return {name: value for name, value in document.items() if name in keys}


def _field(shape: Shape, name: str) -> Field:
    match shape:
        case Named():
            return shape.fields.get(name, Field(FREE, required=False))
        case MapOf(value):
            return Field(value, required=False)
        case _:
            return Field(FREE, required=False)


def _merge_field(result: JsonObject, name: str, value: Any, field: Field, order: Any) -> None:  # noqa: ANN401 - any JSON values
    if value is None:
        result.pop(name, None)
        return
    present = result.get(name)
    if isinstance(value, dict) and isinstance(present, dict):
        result[name] = merged_object(present, value, field.shape)
    elif isinstance(value, list) and (field.merge.patch_key or field.merge.merges_values):
        before = present if isinstance(present, list) else []
        item = field.shape.item if isinstance(field.shape, ListOf) else FREE
        after = _merged_list(before, value, field.merge, item)
        result[name] = after if order is None else _ordered(before, after, order, field.merge)
    else:
        result[name] = _without_directives(value)


def _merged_list(before: list[Any], patch: list[Any], merge: ListMerge, item: Shape) -> list[Any]:
    if merge.merges_values:
        return [*before, *(value for value in dict.fromkeys(patch) if value not in before)]
    if any(isinstance(one, dict) and one.get(DIRECTIVE) == "replace" for one in patch):
        return [_without_directives(one) for one in patch if one.get(DIRECTIVE) != "replace"]
    result = list(before)
    for one in patch:
        key = _key(one, merge)
        places = [index for index, other in enumerate(result) if _key(other, merge) == key]
        if one.get(DIRECTIVE) == "delete":
            result = [other for index, other in enumerate(result) if index not in places]
        elif places:
            result[places[0]] = merged_object(result[places[0]], one, item)
        else:
            result.append(_without_directives(one))
    return result


def _ordered(before: list[Any], after: list[Any], order: Any, merge: ListMerge) -> list[Any]:  # noqa: ANN401 - any JSON value
    if not (merge.patch_key or merge.merges_values):
        return after
    wanted = [_key(one, merge) for one in _list(order, "$setElementOrder")]
    by_key: dict[Any, list[Any]] = {}
    for one in after:
        by_key.setdefault(_key(one, merge), []).append(one)
    present = [*(_key(one, merge) for one in before), *by_key]
    return [one for key in interleaved(wanted, present) for one in by_key.get(key, [])]


def _key(one: Any, merge: ListMerge) -> Any:  # noqa: ANN401 - any JSON value
    if merge.merges_values:
        return one
    if not isinstance(one, dict) or merge.patch_key not in one:
        raise bad_request(f"map does not contain declared merge key: {merge.patch_key}")
    return one[merge.patch_key]


def _list(value: Any, name: str) -> list[Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, list):
        raise bad_request(f"invalid type of {name}: expected a list")
    return value


def _without_directives(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value that is taken as it is, because there is nothing to merge it into."""
    if isinstance(value, list):
        kept = (one for one in value if not (isinstance(one, dict) and one.get(DIRECTIVE) == "delete"))
        return [_without_directives(one) for one in kept]
    if isinstance(value, Mapping):
        return {
            name: _without_directives(inner)
            for name, inner in value.items()
            if inner is not None and not name.startswith("$")
        }
    return value
