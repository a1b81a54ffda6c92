"""`metadata.managedFields`, read and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.ownership.fields import Paths, from_fields_v1, to_fields_v1


class Author(NamedTuple):
    """Who wrote: a field manager, by `Apply` or `Update`, of a subresource ("" for the object itself)."""

    operation: str
    manager: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an author owns, in the words of a version of the API, since when (RFC 3339)."""

    paths: Paths
    api_version: str
    time: str


Entries = Mapping[Author, Entry]


def entries_of(body: JsonObject) -> Entries:
    """The entries of an object; empty when there are none or they are malformed."""
    listed = metadata_of(body).get("managedFields")
    found: dict[Author, Entry] = {}
    for one in listed if isinstance(listed, list) else []:
        fields = one.get("fieldsV1")
        if one.get("operation") not in {"Apply", "Update"} or not isinstance(fields, dict):
            return {}
        author = Author(one["operation"], one.get("manager", ""), one.get("subresource", ""))
        found[author] = Entry(from_fields_v1(fields), one.get("apiVersion", ""), one.get("time", ""))
    return found


def write_entries(body: JsonObject, entries: Entries) -> None:
    """Puts entries into an object, those that own nothing left out."""
    metadata = metadata_of(body)
    listed = [
        _written(author, entry)
        for author, entry in sorted(
            entries.items(), key=lambda pair: (pair[0].operation, pair[1].time, pair[0])
        )
        if entry.paths
    ]
    metadata.pop("managedFields", None)
    if listed:
        metadata["managedFields"] = listed


def _written(author: Author, entry: Entry) -> JsonObject:
    written = {
        "manager": author.manager,
        "operation": author.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields_v1(entry.paths),
    }
    return written | ({"subresource": author.subresource} if author.subresource else {})
