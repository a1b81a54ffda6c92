"""An apply patch: what an author wants becomes part of the object, what only he wanted goes, conflicts are told.

Source: the API concepts' "Server-Side Apply".
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import ApiError, bad_request
from policy_controller.testing.api_server.ownership.entries import Author, Entries, Entry, entries_of
from policy_controller.testing.api_server.ownership.fields import (
    Path,
    Paths,
    dotted,
    leaves_of,
    step_of,
)
from policy_controller.testing.api_server.patches.order import woven
from policy_controller.testing.api_server.schemas.merges import ListKind, ListMerge
from policy_controller.testing.api_server.schemas.shapes import FREE, Field, ListOf, MapOf, Named, Shape

FORMER: Final = Author("Update", "before-first-apply")
"""Owns everything of an object that was there before ownership was noted."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An apply patch: what is wanted, of which kind, by whom, at what time; `force` takes fields from others."""

    config: JsonObject
    kind: Named
    api_version: str
    author: Author
    time: str
    force: bool

    @property
    def paths(self) -> Paths:
        """The fields that the author wants to own."""
        part = self.author.subresource
        found = leaves_of(self.config, self.kind)
        return frozenset(path for path in found if (path[0] == "f:status") == (part == "status"))


def applied(live: JsonObject | None, wish: Wish) -> tuple[JsonObject, Entries]:
    """The object as it becomes, and who owns what in it.

    Raises:
        ApiError: 409 when others own fields that would change, 400 when the patch holds managedFields.
    """
    if metadata_of(wish.config).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    fresh = Entry(wish.paths, wish.api_version, wish.time)
    if live is None:
        return copy.deepcopy(wish.config), {wish.author: fresh}
    entries = entries_of(live)
    if not entries:
        former = frozenset(leaves_of(live, wish.kind))
        entries = {FORMER: Entry(former, wish.api_version, wish.time)}
    own = entries.get(wish.author)
    others = {author: entry for author, entry in entries.items() if author != wish.author}
    result: JsonObject = _merged(copy.deepcopy(live), wish.config, wish.kind)
    if own is not None:
        protected = fresh.paths.union(*(entry.paths for entry in others.values()))
        _prune(result, own.paths - fresh.paths, protected, wish.kind)
    old, new = leaves_of(live, wish.kind), leaves_of(result, wish.kind)
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    clashes = {author: entry.paths & changed for author, entry in others.items()}
    if any(clashes.values()) and not wish.force:
        raise _conflict(clashes, others)
    kept = {
        author: Entry((entry.paths - clashes[author]) & frozenset(new), entry.api_version, entry.time)
        for author, entry in others.items()
    }
    same = own is not None and own.paths == fresh.paths and old == new
    return result, {**kept, wish.author: own if own is not None and same else fresh}


def _merged(live: Any, config: Any, shape: Shape) -> Any:  # noqa: ANN401 - any JSON values
    for name, value in config.items():
        field = shape.fields.get(name) if isinstance(shape, Named) else None
        if isinstance(shape, MapOf):
            field = Field(shape.value, required=False)
        if value is not None:
            live[name] = _merged_value(live.get(name), value, field)
    return live


def _merged_value(live: Any, value: Any, field: Field | None) -> Any:  # noqa: ANN401 - any JSON values
    if field is None or field.atomic or type(live) is not type(value):
        return copy.deepcopy(value)
    if isinstance(value, dict) and isinstance(field.shape, Named | MapOf):
        return _merged(live, value, field.shape)
    if (
        isinstance(value, list)
        and field.merge.kind is not ListKind.ATOMIC
        and isinstance(field.shape, ListOf)
    ):
        return _merged_items(live, value, field.merge, field.shape.item)
    return copy.deepcopy(value)


def _merged_items(live: list[Any], wanted: list[Any], merge: ListMerge, item: Shape) -> list[Any]:
    present = {step_of(one, merge): one for one in live}
    asked = {step_of(one, merge): one for one in wanted}
    result = []
    for step in woven(list(asked), list(present)):
        old, new = present.get(str(step)), asked.get(str(step))
        if old is None or new is None:
            result.append(copy.deepcopy(old if new is None else new))
        else:
            result.append(_merged(old, new, item) if isinstance(new, dict) else new)
    return result


def _prune(document: JsonObject, dropped: Paths, protected: Paths, kind: Named) -> None:
    """Takes out what the author no longer wants and nobody else owns."""
    wanted = set(protected)
    for path in sorted(dropped, key=lambda path: (len(path), path)):
        if any(other[: len(path)] == path for other in wanted):
            if path[-1].startswith("k:"):
                # The item stays for another owner's sake, and with it the keys that make it an item.
                wanted |= {other for other in dropped if other[:-1] == path and _is_key(other)}
            continue
        _remove(document, path, kind)


def _is_key(path: Path) -> bool:
    return f'"{path[-1].removeprefix("f:")}":' in path[-2]


def _remove(container: Any, path: Sequence[str], shape: Shape) -> None:  # noqa: ANN401 - any JSON value
    """Removes one path, and the objects and lists that it leaves empty."""
    name = path[0].removeprefix("f:")
    if not isinstance(container, dict) or name not in container:
        return
    field = shape.fields.get(name) if isinstance(shape, Named) else None
    if len(path) == 1:
        del container[name]
        return
    inner = container[name]
    if isinstance(inner, list) and field is not None and isinstance(field.shape, ListOf):
        _remove_from_list(inner, path[1:], field.merge, field.shape.item)
    elif isinstance(inner, dict):
        _remove(inner, path[1:], field.shape if field is not None else FREE)
    if inner in ({}, []):
        del container[name]


def _remove_from_list(items: list[Any], path: Sequence[str], merge: ListMerge, item: Shape) -> None:
    for index, one in enumerate(items):
        if step_of(one, merge) == path[0]:
            if len(path) == 1:
                del items[index]
            else:
                _remove(one, path[1:], item)
            return


def _conflict(clashes: Mapping[Author, Paths], entries: Entries) -> ApiError:
    causes = []
    groups = []
    for author, paths in sorted(clashes.items()):
        if not paths:
            continue
        part = f" with subresource {author.subresource!r}" if author.subresource else ""
        who = f'"{author.manager}"{part} using {entries[author].api_version}'
        names = [dotted(path) for path in sorted(paths)]
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": name}
            for name in names
        ]
        groups.append((who, names))
    said = "s" if len(causes) > 1 else ""
    if len(causes) == 1:
        text = f"conflict with {groups[0][0]}: {groups[0][1][0]}"
    else:
        text = "\n".join(
            "\n".join([f"conflicts with {who}:", *(f"- {name}" for name in names)]) for who, names in groups
        )
    message = f"Apply failed with {len(causes)} conflict{said}: {text}"
    return ApiError(409, "Conflict", message, {"causes": causes})
