"""What becomes of ownership when an object is created, updated or patched: who changes a field, owns it.

Objects that nobody was noted for (they were written in-process) stay so until somebody applies.
"""

from collections.abc import Callable

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.manners import Track, keep_track
from policy_controller.testing.api_server.ownership.entries import (
    Author,
    Entries,
    Entry,
    entries_of,
    write_entries,
)
from policy_controller.testing.api_server.ownership.fields import Leaves, Path, Paths, leaves_of
from policy_controller.testing.api_server.schemas.shapes import Named


def tracked(
    kind: Named, api_version: str, author: Author, now: str, view: Callable[[JsonObject], JsonObject]
) -> Track:
    """The track of an update or a create by this author; `view` shows a stored body as its resource calls things."""

    def track(before: JsonObject | None, after: JsonObject) -> None:
        entries = _entries_before(before, after, author)
        if before is not None and not entries:
            keep_track(before, after)
            return
        old = {} if before is None else leaves_of(view(before), kind)
        new = leaves_of(view(after), kind)
        write_entries(after, updated(entries, old, new, author, Entry(frozenset(), api_version, now)))

    return track


def _entries_before(before: JsonObject | None, after: JsonObject, author: Author) -> Entries:
    """A client may correct managedFields itself, and may reset them with one empty entry."""
    sent = metadata_of(after).get("managedFields")
    if before is None:
        return {}
    if sent == [{}] and not author.subresource:
        return {}
    corrected = {} if author.subresource else entries_of(after)
    return corrected or entries_of(before)


def updated(entries: Entries, old: Leaves, new: Leaves, author: Author, fresh: Entry) -> Entries:
    """Entries after a change from `old` to `new` by this author, whose entry begins as `fresh`."""
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    changed = frozenset(path for path in changed if _counts(path, author))
    gone = frozenset(path for path in old if path not in new)
    result = {
        other: Entry(entry.paths - changed - gone, entry.api_version, entry.time)
        for other, entry in entries.items()
        if other != author
    }
    own = entries.get(author)
    paths: Paths = (own.paths - gone if own else frozenset()) | changed
    same = own is not None and own.paths == paths and not changed
    result[author] = own if own is not None and same else Entry(paths, fresh.api_version, fresh.time)
    return result


def _counts(path: Path, author: Author) -> bool:
    """Status is the server's when an object is made, and its subresource's afterwards."""
    return path[0] != "f:status" or author.subresource == "status"
