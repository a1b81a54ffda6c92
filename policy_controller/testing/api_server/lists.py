"""LIST: pages of a consistent snapshot.

Knows the version semantics of lists and the continue token. Knows nothing of HTTP. A token carries the version of the
first page, so all pages show one moment; it expires when that version is compacted.
"""

import base64
import binascii
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.selection import Selection
from policy_controller.testing.api_server.store import CompactedError, Store, Stored
from policy_controller.testing.api_server.views import WHOLE, View

PRESENT = -1  # in a token: whatever is current, for a list that may be inconsistent


class VersionMatch(enum.Enum):
    """How the version of a list relates to resourceVersion."""

    UNSET = ""
    NOT_OLDER = "NotOlderThan"
    EXACT = "Exact"


@dataclass(frozen=True, slots=True)
class Paging:
    """What a list request says beyond what it selects; limit 0 means everything in one page."""

    limit: int = 0
    token: str = ""
    version: int | None = None
    match: VersionMatch = VersionMatch.UNSET


class _Token(msgspec.Struct):
    """The continue token: opaque to clients."""

    rv: int
    start: str
    v: str = "meta.k8s.io/v1"

    def text(self) -> str:
        return base64.urlsafe_b64encode(encode(self)).decode().rstrip("=")


def _read_token(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, msgspec.DecodeError, ValueError) as fault:
        raise errors.bad_request(f"continue key is not valid: {fault}") from fault


def list_page(store: Store, selection: Selection, paging: Paging, view: View = WHOLE) -> bytes:
    """The list document of one page.

    Raises:
        ApiError: 400 (bad token), 410 (version compacted), 422 (contradictory options), 504 (version of the future).
    """
    token = _read_token(paging.token) if paging.token else None
    version = _version_of_page(store, paging, token)
    try:
        everything = store.objects(selection.resource.storage, selection.namespace, version)
    except CompactedError as fault:
        raise _expired(token) from fault
    start = token.start if token else ""
    following = [stored for stored in everything if stored.key.order > start] if start else everything
    matching = (stored for stored in following if selection.matches(stored))
    page = list(islice(matching, paging.limit or None))
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if paging.limit and _has_more(matching):
        metadata["continue"] = _Token(version, page[-1].key.order).text()
        if not selection.is_filtered:
            metadata["remainingItemCount"] = len(following) - len(page)
    return view.page(selection.resource, metadata, [stored.raw for stored in page])


def _has_more(matching: Iterator[Stored]) -> bool:
    return next(matching, None) is not None


def _version_of_page(store: Store, paging: Paging, token: _Token | None) -> int:
    if paging.match is not VersionMatch.UNSET:
        _check_match(paging)
    if token is not None:
        if paging.version:
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        return store.version if token.rv == PRESENT else token.rv
    if not paging.version:
        return store.version
    if paging.version > store.version:
        raise errors.version_too_large(paging.version, store.version)
    # API concepts, "Semantics for get and list": without resourceVersionMatch, a limit makes a version exact.
    legacy_exact = paging.match is VersionMatch.UNSET and bool(paging.limit)
    return paging.version if paging.match is VersionMatch.EXACT or legacy_exact else store.version


def _check_match(paging: Paging) -> None:
    name = paging.match.value
    if paging.token:
        why = "resourceVersionMatch is forbidden when continue is provided"
    elif paging.version is None:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif paging.match is VersionMatch.EXACT and paging.version == 0:
        why = f'resourceVersionMatch "{name}" is forbidden for resourceVersion "0"'
    else:
        return
    raise errors.invalid_options([FieldFault("resourceVersionMatch", Fault.FORBIDDEN, why)])


def _expired(token: _Token | None) -> errors.ApiError:
    if token is None:
        return errors.expired("The resourceVersion for the provided list is too old.")
    refusal = errors.expired(
        "The provided continue parameter is too old to display a consistent list result. The token in this "
        "response continues the list without consistency: objects that changed since the first page may be "
        "missing or show up twice."
    )
    refusal.continue_token = _Token(PRESENT, token.start).text()
    return refusal
