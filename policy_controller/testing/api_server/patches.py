"""Patches: a media type and a body in, an edit of a document out.

Knows JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902). Strategic merge and apply patches are not served: their
media types are refused with 415.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonpatch
import msgspec

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import bad_request, unprocessable, unsupported_media_type

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


def _merge_edit(body: bytes) -> Edit:
    patch = _decoded(body)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch of an object must be an object")

    def edit(document: JsonObject) -> JsonObject:
        return _object(merged(document, patch))

    return edit


def _json_edit(body: bytes) -> Edit:
    patch = _decoded(body)
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch must be a list of operations")

    def edit(document: JsonObject) -> JsonObject:
        try:
            return _object(jsonpatch.apply_patch(document, patch))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as fault:
            raise unprocessable(str(fault)) from fault

    return edit


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as fault:
        raise bad_request(f"error decoding patch: {fault}") from fault


def _object(result: object) -> JsonObject:
    if not isinstance(result, dict):
        raise unprocessable("the patched document is not an object")
    return result


EDITS: Final[Mapping[str, Callable[[bytes], Edit]]] = {
    "application/json-patch+json": _json_edit,
    "application/merge-patch+json": _merge_edit,
}


def parse_patch(media_type: str, body: bytes) -> Edit:
    """The edit that a PATCH request asks for.

    Raises:
        ApiError: 415 for another media type, 400 for a body that is not of that type. The edit itself raises 422 when
            the document does not fit the patch.
    """
    if media_type not in EDITS:
        raise unsupported_media_type(list(EDITS))
    return EDITS[media_type](body)
