"""What of the API server's answers kopf gets to see: well-formed events and lists, and of each object what we read.

Knows kopf's needs of an event, and HTTP by aiohttp. Knows nothing of what objects mean.

kopf ends all watches when one event is not what it expects. So an event that it could not take is left out here, and the
LIST that is asked for instead tells of its object; and the parts of metadata that anybody may write and nobody here reads
(managedFields, and all annotations but one) never reach it.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aiohttp
import kopf

from compilers.model.settings import EXISTING_CONNECTIONS
from policy_controller.controller.decoding import decoded, encoded, shallow
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.signs import Signs

LONGEST_LINE: Final = 16 << 20
"""Bytes of one event of a watch; etcd refuses objects of more than 1.5 MiB by default."""
LONGEST_MESSAGE: Final = 500
METADATA: Final = frozenset(
    {
        *("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"),
        *("labels", "ownerReferences"),
    }
)
"""What we read of an object's metadata."""
WORDS: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
"""What of it must be a word, because kopf tells objects by them."""
ERROR: Final = re.compile(rb'"type"\s*:\s*"ERROR"')
OBJECT_EVENTS: Final = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})


@dataclass(frozen=True, slots=True)
class Losses:
    """Whom to tell of what is left out."""

    unreadable: Callable[[], None]
    """An object that does not say who it is."""
    gap: Callable[[], None]
    """An event of which nothing can be read: a LIST may know."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Session(kopf.AiohttpSession):
    """A session as kopf would make it of these credentials, whose answers are judged. kopf closes what it opens.

    Equal for equal credentials: kopf tries those that were refused no second time, and then never opens it.
    """

    credentials: kopf.ConnectionInfo
    losses: Losses
    signs: Signs
    aiohttp_session: aiohttp.ClientSession = field(init=False)

    @classmethod
    def of(cls, credentials: kopf.ConnectionInfo, losses: Losses, signs: Signs) -> "Session":
        """A session of these credentials."""
        return cls(server=credentials.server, credentials=credentials, losses=losses, signs=signs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what is not there is of any type
        if name != "aiohttp_session":
            raise AttributeError(name)
        opened = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.credentials.as_ssl_context()),
            headers=self.credentials.as_http_headers(),
            proxy=self.credentials.proxy_url,
            response_class=_responses(self.losses, self.signs),
        )
        object.__setattr__(self, name, opened)
        return opened

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Session) and other.credentials == self.credentials

    def __hash__(self) -> int:
        return hash(self.credentials)


PLURALS: Final = {row.plural: kind for kind, row in KINDS.items()}


def _responses(losses: Losses, signs: Signs) -> type[aiohttp.ClientResponse]:
    class Judged(aiohttp.ClientResponse):
        """An answer to kopf."""

        async def start(self, connection: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 - aiohttp does not export its type
            kind = PLURALS.get(self.url.path.rpartition("/")[2])
            if kind is not None:
                signs.asked(kind)
            started = await super().start(connection)
            watches = "watch" in self.url.query
            if watches and kind is not None:
                signs.answered(kind, self.status)
            if watches and self.status == 200:
                content = self.content if kind is None else Told(self.content, kind, signs)
                # aiohttp reads nothing of such an answer by itself: kopf iterates over it.
                self.content = Lines(content, losses)  # type: ignore[assignment] # what kopf asks of a stream
            return started

        async def json(self, **_: object) -> Any:  # noqa: ANN401 - as aiohttp declares it
            return listing(decoded(await self.read()), losses)

    return Judged


class Stream(Protocol):
    """What is asked of aiohttp's stream of an answer."""

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """What has arrived, in pieces of at most so many bytes."""
        ...


class Told:
    """The stream of a watch, whose being open and whose pieces are signs of life."""

    def __init__(self, stream: Stream, kind: Kind, signs: Signs) -> None:
        self._stream = stream
        self._kind = kind
        self._signs = signs

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as in Lines
        return getattr(self._stream, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """The pieces, as they are."""
        number = self._signs.opened(self._kind)
        try:
            async for chunk in self._stream.iter_chunked(n):
                # A server that only opens a watch to end it says why in it.
                if not ERROR.search(chunk):
                    self._signs.heard(self._kind)
                yield chunk
        finally:
            self._signs.ended(self._kind, number)


class Lines:
    """The stream of a watch, whose lines are judged before they are handed on."""

    def __init__(self, stream: Stream, losses: Losses) -> None:
        self._stream = stream
        self._losses = losses
        self._begun = False
        """Whether there was an event."""
        self._instead = b""
        """The first line that is none, while there was no event."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - aiohttp asks its own stream for whatever it has
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The lines that kopf may see. No more than LONGEST_LINE bytes of one are ever held."""
        held, skipping = bytearray(), False
        async for chunk in self._stream.iter_chunked(size):
            *complete, rest = chunk.split(b"\n")
            for part in complete:
                held += part
                line = self._judged(bytes(held)) if not skipping and held else b""
                held.clear()
                skipping = False
                if line:
                    yield line
            held += rest
            if len(held) > LONGEST_LINE:
                held.clear()
                skipping = True
                self._losses.gap()
        if held and (line := self._judged(bytes(held))):
            yield line
        if not self._begun and self._instead:
            # An answer that held something else is no watch. kopf fails on it, and waits before it asks again, longer
            # every time; an empty watch it would ask for anew at once.
            yield self._instead

    def _judged(self, line: bytes) -> bytes:
        """The line as kopf may see it; empty when it may not."""
        try:
            value = decoded(shallow(line))
        except (ValueError, RecursionError):
            value = None
        if is_event(value):
            self._begun = True
        else:
            self._instead = self._instead or line[:LONGEST_MESSAGE] + b"\n"
        seen = event(value, self._losses)
        return b"" if seen is None else encoded(seen) + b"\n"


def is_event(value: object) -> bool:
    """Whether it has the form of an event, of whatever type."""
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def event(value: object, losses: Losses) -> dict[str, object] | None:
    """The event as kopf may see it, or None."""
    kind, of = (value.get("type"), value.get("object")) if isinstance(value, dict) else (None, None)
    if kind == "ERROR":
        return {"type": "ERROR", "object": _status(of)}
    if not isinstance(kind, str) or kind not in OBJECT_EVENTS:
        # Something newer than we know: whatever it told, a LIST shows.
        losses.gap()
        return None
    seen = _object(of, named=kind != "BOOKMARK")
    if seen is None:
        losses.unreadable()
        return None
    return {"type": kind, "object": seen}


def listing(value: object, losses: Losses) -> object:
    """A list as kopf may see it; any other document as it is."""
    if not isinstance(value, dict) or not str(value.get("kind")).endswith("List") or "items" not in value:
        return value
    metadata = value.get("metadata")
    items = value["items"] if isinstance(value["items"], list) else []
    seen = [_object(item, named=True) for item in items]
    for _ in range(seen.count(None)):
        losses.unreadable()
    return value | {
        "metadata": metadata if isinstance(metadata, dict) else {},
        "items": [item for item in seen if item is not None],
    }


def _object(value: object, *, named: bool) -> dict[str, object] | None:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(metadata, dict):
        return None
    kept = {name: part for name, part in metadata.items() if name in METADATA and part is not None}
    if any(not isinstance(kept.get(word, ""), str) for word in WORDS) or (named and not kept.get("name")):
        return None
    annotations = metadata.get("annotations")
    chosen = annotations.get(EXISTING_CONNECTIONS) if isinstance(annotations, dict) else None
    if isinstance(chosen, str):
        kept["annotations"] = {EXISTING_CONNECTIONS: chosen}
    words = {name: str(value[name])[:LONGEST_MESSAGE] for name in ("apiVersion", "kind") if value.get(name)}
    return value | words | {"metadata": kept}


def _status(value: object) -> dict[str, object]:
    """An error as kopf reads it: a number, and a message that is not too long to log."""
    status = value if isinstance(value, dict) else {}
    code = status.get("code")
    known = isinstance(code, int) and not isinstance(code, bool)
    return {"code": code if known else 500, "message": str(status.get("message"))[:LONGEST_MESSAGE]}
