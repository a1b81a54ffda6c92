"""The stream of a watch over HTTP: lines until time is up, the watcher goes, or the subscription is closed."""

import asyncio
from typing import Final

from aiohttp import web

from policy_controller.testing.api_server.forms import JSON
from policy_controller.testing.api_server.store import Change, Store
from policy_controller.testing.api_server.subscriptions import Reading, Subscription
from policy_controller.testing.api_server.watches import (
    Bookmarks,
    WatchQuery,
    bookmark,
    change_lines,
    open_watch,
)

STREAM: Final = web.RequestKey("stream", web.StreamResponse)
"""The answer to a watch, where a middleware wants another than aiohttp's own."""


class Follower:
    """Streams watches of one store; `bookmark_seconds` is the pause between bookmarks."""

    def __init__(self, store: Store, bookmark_seconds: float) -> None:
        self._store = store
        self._bookmark_seconds = bookmark_seconds

    async def stream(self, request: web.Request, query: WatchQuery, seconds: float) -> web.StreamResponse:
        """Answers a watch for at most so many seconds."""
        response: web.StreamResponse = request.get(STREAM, web.StreamResponse())
        response.content_type = JSON
        response.enable_chunked_encoding()
        subscription: Subscription[Change] = Subscription(on_overrun=lambda: _abort(request))
        with self._store.subscribed(query.selection.resource.storage, subscription):
            opening = open_watch(self._store, query)
            await response.prepare(request)
            for text in opening.lines:
                await response.write(text)
            if opening.refused is None:
                await self._follow(response, query, subscription, opening.version, seconds)
        await response.write_eof()
        return response

    async def _follow(
        self,
        response: web.StreamResponse,
        query: WatchQuery,
        subscription: Subscription[Change],
        version: int,
        seconds: float,
    ) -> None:
        """Writes what happens for so many seconds, or until the subscription is closed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        next_bookmark = loop.time() + self._bookmark_seconds
        wanted = query.bookmarks is Bookmarks.WANTED
        while subscription.reading is Reading.OPEN and loop.time() < end:
            changes = await subscription.take(min(end, next_bookmark) - loop.time())
            # A watch may start at a version of the future: what comes before it is not for this watcher.
            changes = [change for change in changes if change.version > version]
            lines = change_lines(query, changes)
            if loop.time() >= min(next_bookmark, end):
                next_bookmark = loop.time() + self._bookmark_seconds
                if wanted and subscription.reading is Reading.OPEN:
                    # Nothing was awaited since `take`, so the lines above reach up to this version.
                    lines.append(bookmark(query, max(self._store.version, version)))
            if lines:
                await response.write(b"".join(lines))


def _abort(request: web.Request) -> None:
    """Ends the connection of a watcher that does not read: it may be stuck in a write."""
    if request.transport is not None:
        request.transport.abort()
