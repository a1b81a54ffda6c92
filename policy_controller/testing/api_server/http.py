"""The HTTP face: routes, and refusals as answers.

Knows aiohttp. What is done at a place is in `verbs` and `parts`; the one middleware turns refusals into Status bodies,
and others (faults, say) can be put around it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from policy_controller.testing.api_server import discovery, errors, openapi, requests
from policy_controller.testing.api_server.access import Gate
from policy_controller.testing.api_server.asking import Asked, json_response
from policy_controller.testing.api_server.documents import JsonObject, encode
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.following import STREAM
from policy_controller.testing.api_server.forms import Form, read_form
from policy_controller.testing.api_server.parts import Parts
from policy_controller.testing.api_server.requests import Place, Shape
from policy_controller.testing.api_server.resources import SUBRESOURCES
from policy_controller.testing.api_server.surroundings import Clock
from policy_controller.testing.api_server.verbs import Verbs

BODY_LIMIT: Final = 3 * 1024 * 1024  # bytes; the real server's limit

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[Asked], Awaitable[web.StreamResponse]]

__all__ = ["STREAM", "Face", "Handler"]


@web.middleware
async def refusals_as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every refusal, aiohttp's own included, with a Status body."""
    try:
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
    """The routes of one server; `own` are those outside of the API's paths."""

    def __init__(
        self, verbs: Verbs, parts: Parts, clock: Clock, gate: Gate, own: Iterable[web.RouteDef]
    ) -> None:
        self._verbs = verbs
        self._parts = parts
        self._clock = clock
        self._gate = gate
        self._own = tuple(own)

    def application(self, *around: Middleware) -> web.Application:
        """The aiohttp application, with these middlewares around everything else."""
        middlewares = [*around, refusals_as_status, self._gate.middleware()]
        application = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT)
        application.add_routes(
            [
                *(web.get(path, _healthy) for path in ("/healthz", "/readyz", "/livez")),
                # kr8s asks for /version/, /api/ and /apis/.
                *(web.get(f"{path}{{slash:/?}}", handler) for path, handler in DOCUMENTS),
                web.route("*", "/api/{version}/{steps:.+}", self._serve),
                web.route("*", "/apis/{group}/{version}/{steps:.+}", self._serve),
            ]
        )
        application.add_routes(self._own)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        route = request.match_info
        place = requests.read_place(route.get("group", ""), route["version"], route["steps"].split("/"))
        answer = self._answer(place, request.method)
        if answer is None:
            raise errors.method_not_allowed()
        read_form(request.headers.get("Accept", ""), Form.TABLE, Form.METADATA)
        return await answer(Asked(request, place, self._clock))

    def _answer(self, place: Place, method: str) -> Answer | None:
        if place.shape is not Shape.SUBRESOURCE:
            verb, answer = self._answers().get((place.shape, method), ("", None))
            return answer if verb in place.resource.verbs else None
        answer = self._part_answers().get((place.subresource, method))
        if answer is None and SUBRESOURCES[place.subresource].refused:
            return self._parts.refuse
        return answer

    def _answers(self) -> Mapping[tuple[Shape, str], tuple[str, Answer]]:
        verbs = self._verbs
        return {
            (Shape.EVERYWHERE, "GET"): ("list", verbs.list_or_watch),
            (Shape.COLLECTION, "GET"): ("list", verbs.list_or_watch),
            (Shape.COLLECTION, "POST"): ("create", verbs.create),
            (Shape.COLLECTION, "DELETE"): ("deletecollection", verbs.delete_collection),
            (Shape.OBJECT, "GET"): ("get", verbs.get),
            (Shape.OBJECT, "PUT"): ("update", verbs.replace),
            (Shape.OBJECT, "PATCH"): ("patch", verbs.patch),
            (Shape.OBJECT, "DELETE"): ("delete", verbs.delete),
        }

    def _part_answers(self) -> Mapping[tuple[str, str], Answer]:
        verbs, parts = self._verbs, self._parts
        return {
            ("status", "GET"): verbs.get,
            ("status", "PUT"): verbs.replace,
            ("status", "PATCH"): verbs.patch,
            ("scale", "GET"): parts.get_scale,
            ("scale", "PUT"): parts.replace_scale,
            ("scale", "PATCH"): parts.patch_scale,
            ("token", "POST"): parts.token,
            ("eviction", "POST"): parts.evict,
            ("log", "GET"): parts.log,
            ("portforward", "GET"): parts.forward_ports,
        }


async def _healthy(request: web.Request) -> web.Response:
    del request
    return web.Response(text="ok")


async def _version(request: web.Request) -> web.Response:
    return _answered(request, discovery.VERSION)


async def _core_versions(request: web.Request) -> web.Response:
    return _discovered(request, discovery.aggregated_core, lambda: discovery.core_versions(request.host))


async def _groups(request: web.Request) -> web.Response:
    return _discovered(request, discovery.aggregated_groups, discovery.groups)


async def _group(request: web.Request) -> web.Response:
    return _answered(request, discovery.group(request.match_info["group"]))


async def _resources(request: web.Request) -> web.Response:
    group, version = request.match_info.get("group", ""), request.match_info["version"]
    return _answered(request, discovery.resources(group, version))


async def _openapi_index(request: web.Request) -> web.Response:
    return _answered(request, openapi.index())


async def _openapi(request: web.Request) -> web.Response:
    route = request.match_info
    return json_response(openapi.document(route.get("group", ""), route["version"]))


async def _openapi_v2(request: web.Request) -> web.Response:
    del request
    return web.Response(body=openapi.V2_EMPTY, content_type=openapi.V2_PROTOBUF)


def _discovered(
    request: web.Request, together: Callable[[], JsonObject], apart: Callable[[], JsonObject]
) -> web.Response:
    """Discovery in one document, for clients that ask for it so."""
    if read_form(request.headers.get("Accept", ""), Form.DISCOVERY) is not Form.DISCOVERY:
        return json_response(encode(apart()))
    headers = {"Content-Type": discovery.CONTENT_TYPE}
    return web.Response(body=encode(together()), headers=headers)


def _answered(request: web.Request, document: JsonObject) -> web.Response:
    read_form(request.headers.get("Accept", ""))
    return json_response(encode(document))


DOCUMENTS: Final[tuple[tuple[str, Handler], ...]] = (
    ("/version", _version),
    ("/api", _core_versions),
    ("/apis", _groups),
    ("/apis/{group}", _group),
    ("/api/{version}", _resources),
    ("/apis/{group}/{version}", _resources),
    ("/openapi/v2", _openapi_v2),
    ("/openapi/v3", _openapi_index),
    ("/openapi/v3/api/{version}", _openapi),
    ("/openapi/v3/apis/{group}/{version}", _openapi),
)
