"""One YAML document: plain values and their places, built from the parser's events.

Knows YAML: scalars, anchors, aliases, merge keys, repeated keys. Knows nothing of Kubernetes objects.
Nothing here recurses, and what aliases add is bounded, so no text costs more than its length.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import yaml

from compilers.model.faults import PathPart
from compilers.model.selector import quoted
from compilers.parse.places import Place, part
from compilers.parse.scalars import plain_scalar

DEEPEST: Final = 200
"""Levels of mappings and sequences; objects of the API stay below a tenth of it, schemas of CRDs below a half."""
MOST_BY_ALIASES: Final = 100_000
"""Values that the aliases of one document may add to those written out."""

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final[Mapping[str, tuple[type, ...]]] = {
    _TAG + "int": (int,),
    _TAG + "float": (int, float),
    _TAG + "bool": (bool,),
    _TAG + "null": (type(None),),
}
_STRING_TAGS: Final = frozenset({_TAG + "str", "!"})
_MAPPING_TAGS: Final = frozenset({None, "!", _TAG + "map"})
_SEQUENCE_TAGS: Final = frozenset({None, "!", _TAG + "seq"})


class UnreadableDocumentError(ValueError):
    """A document that is not YAML as Kubernetes reads it; line and column count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"{line}:{column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


MERGE: Final = object()
"""The plain key `<<`; in quotes it is a key like any other."""


def _fail(reason: str, place: Place) -> UnreadableDocumentError:
    return UnreadableDocumentError(reason, place.line, place.column)


@dataclass(slots=True)
class _Sequence:
    """A sequence whose end has not come yet."""

    start: Place
    anchor: str | None
    values_before: int
    value: list[object] = field(default_factory=list)
    inner: list[Place] = field(default_factory=list)
    expects_key: ClassVar[bool] = False

    def add(self, value: object, place: Place) -> None:
        self.value.append(value)
        self.inner.append(place)

    def finish(self) -> None:
        pass


@dataclass(slots=True)
class _Mapping:
    """A mapping whose end has not come yet; `key` waits for its value."""

    start: Place
    anchor: str | None
    values_before: int
    value: dict[object, object] = field(default_factory=dict)
    inner: dict[PathPart, Place] = field(default_factory=dict)
    key: object = None
    key_place: Place | None = None
    merged: list[tuple[object, Place]] = field(default_factory=list)

    @property
    def expects_key(self) -> bool:
        return self.key_place is None

    def add(self, value: object, place: Place) -> None:
        if self.key_place is None:
            self._begin_entry(value, place)
            return
        if self.key is MERGE:
            self.merged.append((value, place))
        else:
            self.value[self.key] = value
            self.inner[part(self.key)] = Place(self.key_place.line, self.key_place.column, place.inner)
        self.key_place = None

    def _begin_entry(self, key: object, place: Place) -> None:
        if isinstance(key, list | dict):
            raise _fail("a key is a mapping or a sequence; keys are strings", place)
        if (key is MERGE and self.merged) or key in self.value:
            name = "<<" if key is MERGE else str(key)
            raise _fail(f"the key {quoted(name)} stands here a second time", place)
        self.key = key
        self.key_place = place

    def finish(self) -> None:
        for value, place in self.merged:
            sources, places = (value, place.inner) if isinstance(value, list) else ([value], [place])
            for index, source in enumerate(sources):
                if not isinstance(source, dict):
                    raise _fail("<< merges only mappings", place)
                self._merge(source, places[index].inner if isinstance(places, list) else None)

    def _merge(self, source: dict[object, object], inner: object) -> None:
        for key, value in source.items():
            # YAML's merge type: keys already there, and mappings earlier in the list, come first.
            if key in self.value:
                continue
            self.value[key] = value
            if isinstance(inner, dict):
                self.inner[part(key)] = inner[part(key)]


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: object
    place: Place
    size: int


class TreeBuilder:
    """Builds the documents of one stream; `first_line` is the line of the file on which the text begins."""

    def __init__(self, text: str, first_line: int = 1) -> None:
        self._parser = yaml.CSafeLoader(text)
        self._first_line = first_line
        self._values = 0
        self._added_by_aliases = 0
        self._anchors: dict[str, _Anchored] = {}
        self._open: list[_Sequence | _Mapping] = []
        self._documents: list[tuple[object, Place]] = []

    def documents(self) -> list[tuple[object, Place]]:
        """Every document with its places; raises UnreadableDocumentError at the first fault."""
        try:
            while (event := self._parser.get_event()) is not None:
                handler = self._HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        except yaml.MarkedYAMLError as fault:
            mark = fault.problem_mark or fault.context_mark
            line, column = (mark.line, mark.column) if mark else (0, 0)
            said = ", ".join(text for text in (fault.context, fault.problem) if text)
            raise self._unreadable(said, line, column) from None
        except yaml.YAMLError as fault:
            raise self._unreadable(str(fault), 0, 0) from None
        return self._documents

    def _unreadable(self, reason: str, line: int, column: int) -> UnreadableDocumentError:
        return UnreadableDocumentError(reason, line + self._first_line, column + 1)

    def _place(self, event: Any, inner: Any = None) -> Place:  # noqa: ANN401 - yaml's events are not typed
        mark = event.start_mark
        return Place(mark.line + self._first_line, mark.column + 1, inner)

    def _scalar(self, event: Any) -> None:  # noqa: ANN401 - as in _place
        place = self._place(event)
        value: object = event.value
        if event.tag is None:
            if event.implicit[0]:
                is_merge = value == "<<" and self._open and self._open[-1].expects_key
                value = MERGE if is_merge else plain_scalar(event.value)
        elif event.tag not in _STRING_TAGS:
            value = self._tagged(event, place)
        self._values += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, place, 1)
        self._add(value, place)

    def _tagged(self, event: Any, place: Place) -> object:  # noqa: ANN401 - as in _place
        kinds = _PLAIN_TAGS.get(event.tag)
        if kinds is None:
            raise _fail(f"the tag {quoted(event.tag)} is not one that Kubernetes reads", place)
        value = plain_scalar(event.value)
        if type(value) not in kinds:
            raise _fail(f"{quoted(event.value)} does not fit its tag {quoted(event.tag)}", place)
        return float(value) if float in kinds and isinstance(value, int) else value

    def _begin_mapping(self, event: Any) -> None:  # noqa: ANN401 - as in _place
        self._open.append(_Mapping(self._begin(event, _MAPPING_TAGS), event.anchor, self._values))

    def _begin_sequence(self, event: Any) -> None:  # noqa: ANN401 - as in _place
        self._open.append(_Sequence(self._begin(event, _SEQUENCE_TAGS), event.anchor, self._values))

    def _begin(self, event: Any, tags: frozenset[str | None]) -> Place:  # noqa: ANN401 - as in _place
        place = self._place(event)
        if event.tag not in tags:
            raise _fail(f"the tag {quoted(event.tag)} is not one that Kubernetes reads", place)
        if len(self._open) >= DEEPEST:
            raise _fail(f"is nested deeper than {DEEPEST} levels", place)
        # Until its end comes the name stands for nothing: an alias inside would contain itself.
        self._anchors.pop(event.anchor, None)
        self._values += 1
        return place

    def _end(self, _: object) -> None:
        done = self._open.pop()
        done.finish()
        place = Place(done.start.line, done.start.column, done.inner)
        if done.anchor is not None:
            size = self._values - done.values_before + 1
            self._anchors[done.anchor] = _Anchored(done.value, place, size)
        self._add(done.value, place)

    def _alias(self, event: Any) -> None:  # noqa: ANN401 - as in _place
        place = self._place(event)
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            inside = any(frame.anchor == event.anchor for frame in self._open)
            why = "contains itself" if inside else "stands for no anchor before it"
            raise _fail(f"the alias *{event.anchor} {why}", place)
        self._added_by_aliases += anchored.size
        self._values += anchored.size
        if self._added_by_aliases > MOST_BY_ALIASES:
            raise _fail(f"the aliases add more than {MOST_BY_ALIASES} values", place)
        self._add(anchored.value, Place(place.line, place.column, anchored.place.inner))

    def _add(self, value: object, place: Place) -> None:
        if self._open:
            self._open[-1].add(value, place)
        else:
            self._documents.append((value, place))

    _HANDLERS: ClassVar[Mapping[type, Callable[["TreeBuilder", Any], None]]] = {
        yaml.ScalarEvent: _scalar,
        yaml.MappingStartEvent: _begin_mapping,
        yaml.SequenceStartEvent: _begin_sequence,
        yaml.MappingEndEvent: _end,
        yaml.SequenceEndEvent: _end,
        yaml.AliasEvent: _alias,
    }
