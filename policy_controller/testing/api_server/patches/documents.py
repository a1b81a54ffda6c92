"""JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902): patches that know nothing of what a document is."""

from collections.abc import Callable
from typing import Any

import jsonpatch
import msgspec

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import bad_request, unprocessable

Edit = Callable[[JsonObject], JsonObject]


def merged(document: object, patch: object) -> object:
    """RFC 7386, section 2, MergePatch: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def merge_edit(body: bytes) -> Edit:
    """The edit of a merge patch.

    Raises:
        ApiError: 400 for a body that is no object.
    """
    patch = decoded(body)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch of an object must be an object")

    def edit(document: JsonObject) -> JsonObject:
        return _object(merged(document, patch))

    return edit


def json_edit(body: bytes) -> Edit:
    """The edit of a JSON patch.

    Raises:
        ApiError: 400 for a body that is no list; the edit itself raises 422 when the document does not fit.
    """
    patch = decoded(body)
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch must be a list of operations")

    def edit(document: JsonObject) -> JsonObject:
        try:
            return _object(jsonpatch.apply_patch(document, patch))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as fault:
            raise unprocessable(str(fault)) from fault

    return edit


def decoded(body: bytes) -> object:
    """The JSON value of a patch.

    Raises:
        ApiError: 400.
    """
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as fault:
        raise bad_request(f"error decoding patch: {fault}") from fault


def _object(result: object) -> JsonObject:
    if not isinstance(result, dict):
        raise unprocessable("the patched document is not an object")
    return result
