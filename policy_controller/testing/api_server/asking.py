"""A request as one asks it: its body, its manner, its author, and the form its answer is to have.

Knows aiohttp's requests and which headers and parameters say what. Decides nothing.
"""

import functools
from typing import Final

from aiohttp import web

from policy_controller.testing.api_server import requests
from policy_controller.testing.api_server.access import ADMITTED, Identity
from policy_controller.testing.api_server.documents import JsonObject, renamed
from policy_controller.testing.api_server.forms import JSON, Form, read_form
from policy_controller.testing.api_server.manners import FieldValidation, Manner, Part
from policy_controller.testing.api_server.ownership.entries import Author
from policy_controller.testing.api_server.ownership.tracking import tracked
from policy_controller.testing.api_server.requests import Place
from policy_controller.testing.api_server.schemas.duplicates import duplicate_fields
from policy_controller.testing.api_server.schemas.shapes import kind_named
from policy_controller.testing.api_server.store import Key
from policy_controller.testing.api_server.surroundings import Clock, timestamp
from policy_controller.testing.api_server.views import Table, View
from policy_controller.testing.api_server.writes import Target, refuse_fields

AUTHOR_LENGTH: Final = 128
STATUS: Final = "status"


def media_type(request: web.Request) -> str:
    """The media type of the body."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def json_response(document: bytes, status: int = 200, warnings: tuple[str, ...] = ()) -> web.Response:
    """A JSON answer, with warnings that clients show to their users."""
    response = web.Response(body=document, status=status, content_type=JSON)
    for sentence in warnings:
        quoted = sentence.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def target_of(place: Place) -> Target:
    """The object that a place points at."""
    return Target(place.resource, Key(place.namespace or "", place.name))


class Asked:
    """One request for one place; `warnings` is what its answer must tell."""

    def __init__(self, request: web.Request, place: Place, clock: Clock) -> None:
        self.request = request
        self.place = place
        self.query = request.query
        self.warnings: list[str] = []
        self._clock = clock

    @property
    def target(self) -> Target:
        """The object that is meant."""
        return target_of(self.place)

    @property
    def part(self) -> Part:
        """The part of it that is meant."""
        return Part.STATUS if self.place.subresource == STATUS else Part.MAIN

    @property
    def media_type(self) -> str:
        """The media type of the body."""
        return media_type(self.request)

    async def document(self) -> JsonObject:
        """The object in the body.

        Raises:
            ApiError: 400, 413, 415.
        """
        raw = await self.request.read()
        found = requests.read_document(self.media_type, raw)
        fields = requests.read_field_validation(self.query)
        if fields is not FieldValidation.IGNORE and self.media_type in requests.JSON_BODIES:
            said = [f'duplicate field "{path}"' for path in duplicate_fields(raw)]
            refuse_fields(self.place.resource, said, self.manner())
        return found

    def view(self) -> View:
        """The form of the answer to a GET.

        Raises:
            ApiError: 400, 406.
        """
        form = read_form(self.request.headers.get("Accept", ""), Form.TABLE, Form.METADATA)
        if form is not Form.TABLE:
            return View(form)
        return View(form, Table(self._clock.now(), requests.read_include(self.query)))

    def manner(self) -> Manner:
        """How a write is to be done; ownership goes to the request's author.

        Raises:
            ApiError: 400, 422.
        """
        resource = self.place.resource
        names = functools.partial(renamed, names=tuple(resource.renamed.items()))
        track = tracked(
            kind_named(resource.api_version, resource.kind),
            resource.api_version,
            self.author("Update"),
            self.now,
            names,
        )
        return Manner(
            part=self.part,
            commit=requests.read_commit(self.query),
            fields=requests.read_field_validation(self.query),
            track=track,
            warn=self.warnings.append,
        )

    @property
    def now(self) -> str:
        """The time of the request, as the API writes times."""
        return timestamp(self._clock.now())

    def author(self, operation: str) -> Author:
        """The field manager: as the request names it, else by the first word of its User-Agent."""
        agent = self.request.headers.get("User-Agent", "").partition("/")[0]
        name = self.query.get("fieldManager") or agent or "unknown"
        return Author(operation, name[:AUTHOR_LENGTH], self.place.subresource)

    def identity(self) -> Identity:
        """Who asks, or who they ask as."""
        return self.request[ADMITTED].identity

    def check_creation(self) -> None:
        """Where something is about to be made that was not there: may whoever asks do that, too?

        Raises:
            ApiError: 403.
        """
        self.request[ADMITTED].check_creation()

    def answer(self, document: bytes, status: int = 200) -> web.Response:
        """The answer, with the warnings."""
        return json_response(document, status, tuple(self.warnings))
