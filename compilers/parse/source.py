"""Files: text of YAML or JSON, with several documents, into plain trees with positions.

Knows where documents begin and that lists are made of objects. Knows nothing of what an object means.
A document that cannot be read is a fault, and hides no other.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, TypeGuard

from compilers.model.faults import Fault, ObjectRef, Position
from compilers.parse.field import shown
from compilers.parse.places import FilePositions, Place, Positions
from compilers.parse.tree import DEEPEST, TreeBuilder, UnreadableDocumentError

__all__ = ["Document", "Positions", "Read", "read_documents"]

_BOUNDARY: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_ILLEGAL: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # YAML 1.1, c-printable
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_JSON_BEGINS: Final = re.compile(r"(?:---)?[ \t\r\n]*(?=\{)")


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file: a tree of dict, list, str, int, float, bool and None.

    Keys are strings, or what YAML makes of them without quotes (`on:` is True, `80:` is 80): whoever reads an object
    says so where it matters.
    """

    value: object
    positions: Positions
    file: str


@dataclass(frozen=True, slots=True)
class Read:
    """The documents of a file in their order, and the faults of those that could not be read."""

    documents: tuple[Document, ...]
    faults: tuple[Fault, ...]


def read_documents(text: str, file: str) -> Read:
    """Read a file that holds YAML documents, or JSON objects one after another.

    Lists of objects (`kind: List`, `kind: PodList`) are replaced by their items; one whose items are no list is a
    fault. Bytes that are not UTF-8 are expected
    as Python's surrogateescape leaves them, and are a fault. Never raises.
    """
    documents: list[Document] = []
    faults: list[Fault] = []
    for chunk, line in _chunks(text.removeprefix("\ufeff")):
        try:
            for value, root in _read(chunk, line):
                if value is not None:
                    documents += _objects(Document(value, FilePositions(file, root), file), faults)
        except UnreadableDocumentError as fault:
            position = Position(file, fault.line, fault.column)
            faults.append(Fault(ObjectRef("File", "", file), (), fault.reason, position))
    return Read(tuple(documents), tuple(faults))


def _chunks(text: str) -> Iterator[tuple[str, int]]:
    """The text of each document with the line on which it begins."""
    start, line = 0, 1
    for boundary in _BOUNDARY.finditer(text):
        opens = boundary.group() == "---"
        chunk = text[start : boundary.start()]
        if opens and _only_directives(chunk):
            # `%YAML 1.1` stands before the marker of the document it speaks of.
            continue
        yield chunk, line
        end = boundary.start() if opens else boundary.end()
        line += text.count("\n", start, end)
        start = end
    yield text[start:], line


def _only_directives(chunk: str) -> bool:
    lines = [line for line in chunk.split("\n") if line.strip() and not line.startswith("#")]
    return bool(lines) and all(line.startswith("%") for line in lines)


Rooted = tuple[object, Callable[[], Place | None]]
"""A document's tree, and what works out its places."""


def _read(chunk: str, line: int) -> list[Rooted]:
    illegal = _ILLEGAL.search(chunk)
    if illegal is not None:
        raise _illegal(chunk, illegal.start(), line)
    begins = _JSON_BEGINS.match(chunk)
    if begins is not None:
        try:
            return list(_read_json(chunk, begins.end(), line))
        except (ValueError, RecursionError):
            # Not JSON after all, or JSON that is refused: read as YAML it is either accepted or refused with a place.
            pass
    return [(value, partial(_known, place)) for value, place in _read_yaml(chunk, line)]


def _known(place: Place) -> Place:
    return place


def _illegal(chunk: str, at: int, line: int) -> UnreadableDocumentError:
    char = ord(chunk[at])
    if 0xDC80 <= char <= 0xDCFF:
        reason = f"the byte 0x{char - 0xDC00:02x} is not UTF-8; save the file as UTF-8"
    else:
        reason = f"the control character U+{char:04X} must not stand in YAML; write it as an escape in double quotes"
    before = chunk[:at]
    return UnreadableDocumentError(reason, line + before.count("\n"), at - before.rfind("\n"))


def _read_yaml(chunk: str, line: int) -> list[tuple[object, Place]]:
    try:
        return TreeBuilder(chunk, line).documents()
    except UnreadableDocumentError as fault:
        lines = chunk.split("\n")
        number = fault.line - line
        text = lines[number] if 0 <= number < len(lines) else ""
        if "\t" in text[: len(text) - len(text.lstrip())]:
            reason = f"a tab stands where YAML allows only spaces ({fault.reason})"
            raise UnreadableDocumentError(reason, fault.line, text.index("\t") + 1) from None
        raise


def _read_json(chunk: str, at: int, line: int) -> Iterator[Rooted]:
    """The JSON objects of a text from `at` on; raises ValueError where it is not JSON."""
    counted = 0
    while at < len(chunk):
        line += chunk.count("\n", counted, at)
        counted = at
        value, end = _DECODER.raw_decode(chunk, at)
        _check_depth(value)
        written = chunk[at:end]
        if _SURROGATE_ESCAPE.search(written):
            # Half a surrogate pair is a string that cannot be written down again: UnicodeEncodeError is a ValueError.
            json.dumps(value, ensure_ascii=False).encode()
        indent = " " * (at - chunk.rfind("\n", 0, at) - 1)
        yield value, _json_places(indent + written, line)
        at = _skip(chunk, end)


def _skip(chunk: str, at: int) -> int:
    found = _SPACE.match(chunk, at)
    return at if found is None else found.end()


def _json_places(written: str, line: int) -> Callable[[], Place | None]:
    @cache
    def places() -> Place | None:
        # Every place of JSON is found by reading it as YAML, except where the two differ (escaped surrogate pairs).
        try:
            return next((place for _, place in TreeBuilder(written, line).documents()), None)
        except UnreadableDocumentError:
            return Place(line, 1, None)

    return places


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(DEEPEST):
        inside: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inside += item.values()
            elif isinstance(item, list):
                inside += item
        if not inside:
            return
        level = inside
    if any(isinstance(item, dict | list) for item in level):
        raise ValueError("nested too deep")


def _objects(document: Document, faults: list[Fault]) -> Iterator[Document]:
    """The document itself, or the items of the list that it is; a list without readable items is noted in `faults`."""
    waiting = [document]
    while waiting:
        current = waiting.pop()
        if not _is_list(current.value):
            yield current
            continue
        items = _items(current.value)
        if items is None:
            faults.append(_no_items(current))
            continue
        positions = current.positions
        assert isinstance(positions, FilePositions)  # noqa: S101 - read_documents makes no others
        waiting += [
            Document(item, positions.under(("items", index)), document.file)
            for index, item in reversed(list(enumerate(items)))
        ]


def _is_list(value: object) -> TypeGuard[dict[str, object]]:
    if not isinstance(value, dict):
        return False
    kind, metadata = value.get("kind"), value.get("metadata")
    # API conventions: lists have ListMeta, which knows no name. What has one and no items is an object whose kind ends so.
    named = isinstance(metadata, dict) and "name" in metadata
    return isinstance(kind, str) and kind.endswith("List") and ("items" in value or not named)


def _items(value: dict[str, object]) -> list[object] | None:
    kind, items = str(value["kind"]), value.get("items")
    if items is None:
        return []
    if not isinstance(items, list):
        return None
    # The items of a typed list (`PodList`) say neither kind nor apiVersion: the list does.
    said = (
        {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    )
    return [said | item if isinstance(item, dict) else item for item in items]


def _no_items(document: Document) -> Fault:
    items = document.value.get("items") if isinstance(document.value, dict) else None
    position = document.positions.get(("items",)) or document.positions.get(())
    return Fault(
        ObjectRef("File", "", document.file),
        ("items",),
        f"must be a list of objects, found {shown(items)}",
        position,
    )
