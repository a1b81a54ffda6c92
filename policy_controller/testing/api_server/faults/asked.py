"""What a request asks for, as far as faults care: verb, resource, namespace, client.

Knows paths. Knows nothing of faults.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from policy_controller.testing.api_server import requests
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.requests import Place, Shape


class Verb(enum.Enum):
    """The API's verbs, as roles name them; and what is no request for a resource."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    DELETE_COLLECTION = "deletecollection"
    OTHER = "other"
    """Discovery, version, health, and paths that nothing is served at."""


OF_COLLECTIONS: Final[Mapping[str, Verb]] = {
    "GET": Verb.LIST,
    "POST": Verb.CREATE,
    "DELETE": Verb.DELETE_COLLECTION,
}
OF_OBJECTS: Final[Mapping[str, Verb]] = {
    "GET": Verb.GET,
    "PUT": Verb.UPDATE,
    "PATCH": Verb.PATCH,
    "DELETE": Verb.DELETE,
    "POST": Verb.CREATE,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `resource` is `plural` or `plural.group`, "" for none; `namespace` None: not of one namespace."""

    verb: Verb
    resource: str
    namespace: str | None
    agent: str
    """The client's User-Agent."""


def asked(request: web.Request) -> Asked:
    """What a request asks for; never raises."""
    agent = request.headers.get("User-Agent", "")
    place = _place(request)
    if place is None:
        return Asked(Verb.OTHER, "", None, agent)
    return Asked(_verb(request, place), place.resource.qualified, place.namespace, agent)


def _place(request: web.Request) -> Place | None:
    route = request.match_info
    if "steps" not in route:
        return None
    try:
        return requests.read_place(route.get("group", ""), route["version"], route["steps"].split("/"))
    except ApiError:
        return None


def _verb(request: web.Request, place: Place) -> Verb:
    if place.shape in {Shape.OBJECT, Shape.SUBRESOURCE}:
        return OF_OBJECTS.get(request.method, Verb.OTHER)
    if request.method == "GET" and requests.wants_watch(request.query):
        return Verb.WATCH
    return OF_COLLECTIONS.get(request.method, Verb.OTHER)
