"""WATCH: which lines a watcher gets.

Knows the version semantics of watches, what a selector makes of a change, and bookmarks. Knows nothing of HTTP or of
how lines are delivered.
"""

import enum
from dataclasses import dataclass

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.selection import Selection
from policy_controller.testing.api_server.store import Change, ChangeKind, CompactedError, Store, Stored
from policy_controller.testing.api_server.views import WHOLE, View


class InitialEvents(enum.Enum):
    """Whether a watch begins with the objects there are (sendInitialEvents)."""

    UNSET = "when no version is given"
    SEND = "true"
    OMIT = "false"


class Bookmarks(enum.Enum):
    """Whether the watcher wants to hear of versions at which nothing happened to it."""

    WANTED = "true"
    UNWANTED = "false"


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """What a watch request asks for; version None and 0 mean "from now", with the present objects first."""

    selection: Selection
    version: int | None = None
    initial: InitialEvents = InitialEvents.UNSET
    bookmarks: Bookmarks = Bookmarks.UNWANTED
    view: View = WHOLE


@dataclass(frozen=True, slots=True)
class Opening:
    """The first lines of a watch, and the version after which the rest follows; `refused` means nothing follows."""

    lines: list[bytes]
    version: int
    refused: ApiError | None = None


def line(event: str, document: bytes) -> bytes:
    """One watch event as a line."""
    return b"".join((b'{"type":"', event.encode(), b'","object":', document, b"}\n"))


def bookmark(query: WatchQuery, version: int, annotations: dict[str, str] | None = None) -> bytes:
    """The line that tells a watcher how far it has seen."""
    resource = query.selection.resource
    metadata: dict[str, object] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    document = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return line("BOOKMARK", encode(document))


def open_watch(store: Store, query: WatchQuery) -> Opening:
    """How a watch begins: with present objects, with history, or with the error that its version is too old."""
    selection = query.selection
    from_now = not query.version
    if query.initial is InitialEvents.SEND or (from_now and query.initial is InitialEvents.UNSET):
        present = store.objects(selection.resource.storage, selection.namespace)
        lines = [_added(query, stored) for stored in present if selection.matches(stored)]
        if query.initial is InitialEvents.SEND and query.bookmarks is Bookmarks.WANTED:
            # API concepts, "Streaming lists": "... the API server sends a synthetic bookmark event, which includes
            # the k8s.io/initial-events-end: "true" annotation".
            lines.append(bookmark(query, store.version, {"k8s.io/initial-events-end": "true"}))
        return Opening(lines, store.version)
    if not query.version:
        return Opening([], store.version)
    try:
        changes = store.since(selection.resource.storage, query.version)
    except CompactedError as fault:
        refusal = errors.expired(f"too old resource version: {fault}")
        return Opening([line("ERROR", encode(refusal.status()))], store.version, refused=refusal)
    return Opening(change_lines(query, changes), max(store.version, query.version))


def change_lines(query: WatchQuery, changes: list[Change]) -> list[bytes]:
    """What a watcher hears of these changes."""
    lines = (_change_line(query, change) for change in changes)
    return [text for text in lines if text is not None]


def _added(query: WatchQuery, stored: Stored) -> bytes:
    return line("ADDED", query.view.alone(query.selection.resource, stored.raw))


def _change_line(query: WatchQuery, change: Change) -> bytes | None:
    selection, resource = query.selection, query.selection.resource
    matched = change.previous is not None and selection.matches(change.previous)
    matches = change.kind is not ChangeKind.DELETED and selection.matches(change.stored)
    if matches:
        event = ChangeKind.MODIFIED if matched else ChangeKind.ADDED
        return line(event.value, query.view.alone(resource, change.stored.raw))
    if not matched or change.previous is None:
        return None
    if change.kind is ChangeKind.DELETED:
        return line("DELETED", query.view.alone(resource, change.stored.raw))
    # The object left the selection: to this watcher it is deleted, in the state it last saw, at this version.
    left = change.previous.body()
    return line(
        "DELETED", query.view.alone(resource, Store.version_of(change.stored.key, left, change.version).raw)
    )
