"""The HTTP face: routes, answers and the stream of a watch.

Knows aiohttp. Everything it decides it asks of the other modules; the one middleware turns refusals into Status
bodies, and others (faults, say) can be put around it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from policy_controller.testing.api_server import discovery, errors, requests
from policy_controller.testing.api_server.deletes import Deleter, Outcome
from policy_controller.testing.api_server.documents import alone, encode, metadata_of
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.lists import list_page
from policy_controller.testing.api_server.patches import parse_patch
from policy_controller.testing.api_server.requests import JSON, Place, Shape
from policy_controller.testing.api_server.resources import Deletion
from policy_controller.testing.api_server.store import Change, Key, Store
from policy_controller.testing.api_server.subscriptions import Reading, Subscription
from policy_controller.testing.api_server.watches import (
    Bookmarks,
    WatchQuery,
    bookmark,
    change_lines,
    open_watch,
)
from policy_controller.testing.api_server.writes import Part, Target, Writer

BODY_LIMIT: Final = 3 * 1024 * 1024  # bytes; the real server's limit
WATCH_SECONDS: Final = 1_800  # how long a watch lasts that names no timeoutSeconds

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[["Face", web.Request, Place], Awaitable[web.StreamResponse]]

STREAM: Final = web.RequestKey("stream", web.StreamResponse)
"""The answer to a watch, where a middleware wants another than aiohttp's own."""


def json_response(document: bytes, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=document, status=status, content_type=JSON)


@web.middleware
async def refusals_as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every refusal, aiohttp's own included, with a Status body."""
    try:
        requests.check_accept(request.headers.get("Accept", ""))
        return await handler(request)
    except ApiError as refusal:
        answer = refusal
    except web.HTTPNotFound:
        answer = errors.no_such_path()
    except web.HTTPMethodNotAllowed:
        answer = errors.method_not_allowed()
    except web.HTTPRequestEntityTooLarge:
        answer = ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {BODY_LIMIT}")
    return json_response(encode(answer.status()), answer.code)


class Face:
    """The handlers of one server; `bookmark_seconds` is the pause between bookmarks of a watch."""

    def __init__(self, store: Store, writer: Writer, deleter: Deleter, bookmark_seconds: float) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._bookmark_seconds = bookmark_seconds

    def application(self, *around: Middleware) -> web.Application:
        """The aiohttp application, with these middlewares around everything else."""
        application = web.Application(middlewares=[*around, refusals_as_status], client_max_size=BODY_LIMIT)
        application.add_routes(
            [
                *(web.get(path, self._healthy) for path in ("/healthz", "/readyz", "/livez")),
                # kr8s asks for /version/, /api/ and /apis/.
                *(web.get(f"{path}{{slash:/?}}", handler) for path, handler in self._discovery()),
                web.route("*", "/api/{version}/{steps:.+}", self._serve),
                web.route("*", "/apis/{group}/{version}/{steps:.+}", self._serve),
            ]
        )
        return application

    def _discovery(self) -> list[tuple[str, Handler]]:
        return [
            ("/version", self._version),
            ("/api", self._core_versions),
            ("/apis", self._groups),
            ("/apis/{group}", self._group),
            ("/api/{version}", self._resources),
            ("/apis/{group}/{version}", self._resources),
        ]

    async def _healthy(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok")

    async def _version(self, request: web.Request) -> web.Response:
        del request
        return json_response(encode(discovery.VERSION))

    async def _core_versions(self, request: web.Request) -> web.Response:
        return json_response(encode(discovery.core_versions(request.host)))

    async def _groups(self, request: web.Request) -> web.Response:
        del request
        return json_response(encode(discovery.groups()))

    async def _group(self, request: web.Request) -> web.Response:
        return json_response(encode(discovery.group(request.match_info["group"])))

    async def _resources(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        return json_response(encode(discovery.resources(group, version)))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        route = request.match_info
        place = requests.read_place(route.get("group", ""), route["version"], route["steps"].split("/"))
        verb = ANSWERS.get((place.shape, request.method))
        if verb is None or (place.shape is not Shape.SUBRESOURCE and verb[0] not in place.resource.verbs):
            raise errors.method_not_allowed()
        return await verb[1](self, request, place)

    async def get(self, request: web.Request, place: Place) -> web.StreamResponse:
        """GET of an object, or of its status: both show the whole."""
        del request
        stored = self._store.get(place.resource.storage, _target(place).key)
        if stored is None:
            raise errors.not_found(place.resource, place.name)
        return json_response(alone(place.resource, stored.raw))

    async def list_or_watch(self, request: web.Request, place: Place) -> web.StreamResponse:
        """GET of a collection."""
        if requests.wants_watch(request.query):
            return await self._watch(request, requests.read_watch(request.query, place))
        selection = requests.read_selection(request.query, place)
        return json_response(list_page(self._store, selection, requests.read_paging(request.query)))

    async def create(self, request: web.Request, place: Place) -> web.StreamResponse:
        """POST to a collection."""
        document = requests.read_document(_media_type(request), await request.read())
        commit = requests.read_commit(request.query)
        stored = self._writer.create(place.resource, place.namespace or "", document, commit=commit)
        return json_response(alone(place.resource, stored.raw), 201)

    async def replace(self, request: web.Request, place: Place) -> web.StreamResponse:
        """PUT of an object or its status."""
        document = requests.read_document(_media_type(request), await request.read())
        commit = requests.read_commit(request.query)
        stored, created = self._writer.replace(_target(place), document, part=_part(place), commit=commit)
        return json_response(alone(place.resource, stored.raw), 201 if created else 200)

    async def patch(self, request: web.Request, place: Place) -> web.StreamResponse:
        """PATCH of an object or its status."""
        edit = parse_patch(_media_type(request), await request.read())
        commit = requests.read_commit(request.query)
        stored = self._writer.change(_target(place), edit, part=_part(place), commit=commit)
        return json_response(alone(place.resource, stored.raw))

    async def delete(self, request: web.Request, place: Place) -> web.StreamResponse:
        """DELETE of an object."""
        options, commit = requests.read_delete(request.query, _media_type(request), await request.read())
        stored, outcome = self._deleter.delete(_target(place), options, commit)
        if outcome is Outcome.PENDING or place.resource.deletion is Deletion.OBJECT:
            return json_response(alone(place.resource, stored.raw))
        uid = metadata_of(stored.body())["uid"]
        return json_response(encode(errors.success(place.resource, place.name, uid)))

    async def delete_collection(self, request: web.Request, place: Place) -> web.StreamResponse:
        """DELETE of a collection: answers with the list of what was selected."""
        options, commit = requests.read_delete(request.query, _media_type(request), await request.read())
        selection = requests.read_selection(request.query, place)
        answer = list_page(self._store, selection, requests.read_paging(request.query))
        for stored in self._store.objects(place.resource.storage, place.namespace):
            if selection.matches(stored):
                self._deleter.delete(Target(place.resource, stored.key), options, commit)
        return json_response(answer)

    async def _watch(self, request: web.Request, query: WatchQuery) -> web.StreamResponse:
        seconds = requests.read_timeout(request.query) or WATCH_SECONDS
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


def _media_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _target(place: Place) -> Target:
    return Target(place.resource, Key(place.namespace or "", place.name))


def _part(place: Place) -> Part:
    return Part.STATUS if place.shape is Shape.SUBRESOURCE else Part.MAIN


ANSWERS: Final[dict[tuple[Shape, str], tuple[str, Answer]]] = {
    (Shape.EVERYWHERE, "GET"): ("list", Face.list_or_watch),
    (Shape.COLLECTION, "GET"): ("list", Face.list_or_watch),
    (Shape.COLLECTION, "POST"): ("create", Face.create),
    (Shape.COLLECTION, "DELETE"): ("deletecollection", Face.delete_collection),
    (Shape.OBJECT, "GET"): ("get", Face.get),
    (Shape.OBJECT, "PUT"): ("update", Face.replace),
    (Shape.OBJECT, "PATCH"): ("patch", Face.patch),
    (Shape.OBJECT, "DELETE"): ("delete", Face.delete),
    (Shape.SUBRESOURCE, "GET"): ("get", Face.get),
    (Shape.SUBRESOURCE, "PUT"): ("update", Face.replace),
    (Shape.SUBRESOURCE, "PATCH"): ("patch", Face.patch),
}
