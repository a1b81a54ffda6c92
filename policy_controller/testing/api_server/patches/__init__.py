"""Patches: a media type and a body in, an edit of a document out.

    documents   merge and JSON patches, by their RFCs
    strategic   the patch that knows keys and lists of the API's types
    order       in which order merged lists stand

An apply patch is no edit of one document: it is in `ownership`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from policy_controller.testing.api_server.errors import unsupported_media_type
from policy_controller.testing.api_server.patches.documents import Edit, json_edit, merge_edit, merged
from policy_controller.testing.api_server.patches.strategic import strategic_edit
from policy_controller.testing.api_server.schemas.shapes import Named

APPLY: Final = "application/apply-patch+yaml"

EDITS: Final[Mapping[str, Callable[[bytes, Named], Edit]]] = {
    "application/json-patch+json": lambda body, _: json_edit(body),
    "application/merge-patch+json": lambda body, _: merge_edit(body),
    "application/strategic-merge-patch+json": strategic_edit,
}


def parse_patch(media_type: str, body: bytes, kind: Named) -> Edit:
    """The edit of a document of this kind that a PATCH request asks for.

    Raises:
        ApiError: 415 for another media type, 400 for a body that is not of that type. The edit itself raises 422 when
            the document does not fit the patch.
    """
    if media_type not in EDITS:
        raise unsupported_media_type([*EDITS, APPLY])
    return EDITS[media_type](body, kind)


__all__ = ["APPLY", "EDITS", "Edit", "merged", "parse_patch"]
