"""The versioned store: what exists, what existed, and who is told of changes.

One counter numbers all writes, as etcd's revision does. Each shelf (one a resource) keeps its changes until they are
compacted, so any version since then can be listed and watched again. Knows nothing of kinds, validity, selectors or
HTTP; it belongs to one event loop.
"""

import bisect
import enum
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from policy_controller.testing.api_server.documents import JsonObject, at_rest, body_of, metadata_of
from policy_controller.testing.api_server.subscriptions import Subscription

HISTORY_LIMIT: Final = 20_000  # changes kept for each shelf; older ones are compacted away unasked


class Key(NamedTuple):
    """An object's place on its shelf; the namespace is empty for cluster-scoped objects."""

    namespace: str
    name: str

    @property
    def order(self) -> str:
        """Lists are sorted by this: etcd's key, so `a-b/x` comes before `a/x`."""
        return f"{self.namespace}/{self.name}"


class ChangeKind(enum.Enum):
    """What happened to an object, in the words of a watch event."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object."""

    key: Key
    version: int
    raw: bytes

    def body(self) -> JsonObject:
        """A fresh copy that the caller may change."""
        return body_of(self.raw)


@dataclass(frozen=True, slots=True)
class Change:
    """One write. For DELETED `stored` is the last state, carrying the version of the deletion."""

    kind: ChangeKind
    stored: Stored
    previous: Stored | None

    @property
    def version(self) -> int:
        """The number of the write."""
        return self.stored.version


class CompactedError(Exception):
    """The version asked for is older than what is kept."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"{asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


@dataclass(slots=True)
class Shelf:
    """The objects of one resource, in order, with their history."""

    objects: dict[str, Stored] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    history: deque[Change] = field(default_factory=deque)
    oldest: int = 0  # the lowest version whose successors are all in the history
    subscriptions: list["Subscription[Change]"] = field(default_factory=list)

    def record(self, change: Change) -> None:
        """Puts the change into effect, into the history and before every subscriber."""
        place = change.stored.key.order
        if change.kind is ChangeKind.DELETED:
            del self.objects[place]
            del self.order[bisect.bisect_left(self.order, place)]
        else:
            if place not in self.objects:
                bisect.insort(self.order, place)
            self.objects[place] = change.stored
        self.history.append(change)
        while len(self.history) > HISTORY_LIMIT:
            self.oldest = self.history.popleft().version
        for subscription in self.subscriptions:
            subscription.offer(change)

    def compact(self, version: int) -> None:
        """Forgets the changes up to and including that version."""
        while self.history and self.history[0].version <= version:
            self.history.popleft()
        self.oldest = max(self.oldest, version)

    def since(self, version: int) -> list[Change]:
        """The changes after that version, oldest first.

        Raises:
            CompactedError: some of them are no longer kept.
        """
        if version < self.oldest:
            raise CompactedError(version, self.oldest)
        newest_first = []
        for change in reversed(self.history):
            if change.version <= version:
                break
            newest_first.append(change)
        return newest_first[::-1]

    def at(self, version: int) -> list[Stored]:
        """All objects in order, as they were right after that version.

        Raises:
            CompactedError: the way back there is no longer kept.
        """
        later = self.since(version)
        if not later:
            return [self.objects[place] for place in self.order]
        objects = dict(self.objects)
        for change in reversed(later):
            if change.previous is None:
                del objects[change.stored.key.order]
            else:
                objects[change.stored.key.order] = change.previous
        return [objects[place] for place in sorted(objects)]


class Store:
    """All shelves and the one counter of writes."""

    def __init__(self) -> None:
        self.version = 1
        self._shelves: dict[str, Shelf] = {}
        self._compacted = 0

    def get(self, shelf: str, key: Key) -> Stored | None:
        """The object's current version."""
        return self._shelf(shelf).objects.get(key.order)

    def objects(self, shelf: str, namespace: str | None, at: int | None = None) -> list[Stored]:
        """Objects in order: of one namespace or of all (None), now or right after a version.

        Raises:
            CompactedError: that version is no longer kept.
        """
        everything = self._shelf(shelf).at(self.version if at is None else at)
        if namespace is None:
            return everything
        return [stored for stored in everything if stored.key.namespace == namespace]

    def put(self, shelf: str, key: Key, body: JsonObject) -> Stored:
        """Writes an object; `metadata.resourceVersion` becomes the number of this write."""
        self.version += 1
        previous = self.get(shelf, key)
        stored = self.version_of(key, body, self.version)
        kind = ChangeKind.ADDED if previous is None else ChangeKind.MODIFIED
        self._shelf(shelf).record(Change(kind, stored, previous))
        return stored

    def remove(self, shelf: str, key: Key, body: JsonObject) -> Stored:
        """Removes an object whose last state is `body`; the result carries the version of the deletion."""
        self.version += 1
        previous = self._shelf(shelf).objects[key.order]
        stored = self.version_of(key, body, self.version)
        self._shelf(shelf).record(Change(ChangeKind.DELETED, stored, previous))
        return stored

    @staticmethod
    def version_of(key: Key, body: JsonObject, version: int) -> Stored:
        """What a write of this body under that version would store."""
        metadata_of(body)["resourceVersion"] = str(version)
        return Stored(key, version, at_rest(body))

    def since(self, shelf: str, version: int) -> list[Change]:
        """The changes of a shelf after that version, oldest first.

        Raises:
            CompactedError: some of them are no longer kept.
        """
        return self._shelf(shelf).since(version)

    def shelves_with(self, namespace: str) -> list[tuple[str, Key]]:
        """The places of everything that lives in a namespace."""
        return [
            (name, stored.key)
            for name, shelf in sorted(self._shelves.items())
            for stored in shelf.at(self.version)
            if stored.key.namespace == namespace
        ]

    def compact(self) -> int:
        """Forgets all history; only the present version and what follows can be listed and watched."""
        self._compacted = self.version
        for shelf in self._shelves.values():
            shelf.compact(self._compacted)
        return self._compacted

    @contextmanager
    def subscribed(self, shelf: str, subscription: "Subscription[Change]") -> Iterator[None]:
        """While entered, the subscription is offered every change of the shelf."""
        subscriptions = self._shelf(shelf).subscriptions
        subscriptions.append(subscription)
        try:
            yield
        finally:
            subscriptions.remove(subscription)

    def subscriptions(self) -> "list[Subscription[Change]]":
        """Everybody who is told of changes."""
        return [one for shelf in self._shelves.values() for one in shelf.subscriptions]

    def _shelf(self, name: str) -> Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = Shelf(oldest=self._compacted)
        return shelf
