"""The verbs over HTTP: what is done with objects, one method each.

Knows what is asked and whom to ask for it. Decides nothing itself.
"""

import dataclasses

import msgspec
import yaml
from aiohttp import web

from policy_controller.testing.api_server import errors, requests
from policy_controller.testing.api_server.access import Reviews
from policy_controller.testing.api_server.asking import Asked, json_response
from policy_controller.testing.api_server.deletes import Deleter, Outcome
from policy_controller.testing.api_server.documents import JsonObject, alone, encode, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.following import Follower
from policy_controller.testing.api_server.lists import list_page
from policy_controller.testing.api_server.manners import Part
from policy_controller.testing.api_server.ownership.applying import Wish, applied
from policy_controller.testing.api_server.ownership.entries import write_entries
from policy_controller.testing.api_server.patches import APPLY, parse_patch
from policy_controller.testing.api_server.resources import Deletion, Keeping, Put
from policy_controller.testing.api_server.schemas.shapes import kind_named
from policy_controller.testing.api_server.store import Store
from policy_controller.testing.api_server.writes import Target, Writer, shown, typed

WATCH_SECONDS = 1_800  # how long a watch lasts that names no timeoutSeconds


class Verbs:
    """The verbs of one server."""

    def __init__(
        self, store: Store, writer: Writer, deleter: Deleter, reviews: Reviews, follower: Follower
    ) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._reviews = reviews
        self._follower = follower

    async def get(self, asked: Asked) -> web.StreamResponse:
        """GET of an object, or of its status: both show the whole."""
        resource = asked.place.resource
        stored = self._store.get(resource.storage, asked.target.key)
        if stored is None:
            raise errors.not_found(resource, asked.place.name)
        return json_response(asked.view().alone(resource, stored.raw))

    async def list_or_watch(self, asked: Asked) -> web.StreamResponse:
        """GET of a collection."""
        if requests.wants_watch(asked.query):
            query = requests.read_watch(asked.query, asked.place, asked.view())
            seconds = requests.read_timeout(asked.query) or WATCH_SECONDS
            return await self._follower.stream(asked.request, query, seconds)
        selection = requests.read_selection(asked.query, asked.place)
        paging = requests.read_paging(asked.query)
        return json_response(list_page(self._store, selection, paging, asked.view()))

    async def create(self, asked: Asked) -> web.StreamResponse:
        """POST to a collection; a review is answered, everything else is stored."""
        resource, namespace = asked.place.resource, asked.place.namespace or ""
        document = await asked.document()
        if resource.keeping is Keeping.ANSWERED:
            review = self._reviews.answer(resource, namespace, document, asked.identity())
            return asked.answer(encode(review), 201)
        stored = self._writer.create(resource, namespace, document, asked.manner())
        return asked.answer(alone(resource, stored.raw), 201)

    async def replace(self, asked: Asked) -> web.StreamResponse:
        """PUT of an object or its status."""
        document = await asked.document()
        resource = asked.place.resource
        absent = self._store.get(resource.storage, asked.target.key) is None
        if absent and resource.put is not Put.UNCONDITIONAL:
            asked.check_creation()
        stored, created = self._writer.replace(asked.target, document, asked.manner())
        return asked.answer(alone(asked.place.resource, stored.raw), 201 if created else 200)

    async def patch(self, asked: Asked) -> web.StreamResponse:
        """PATCH of an object or its status."""
        raw = await asked.request.read()
        if asked.media_type == APPLY:
            return self._apply(asked, raw)
        resource = asked.place.resource
        if requests.read_force(asked.query):
            raise errors.invalid_options([_FORCE])
        edit = parse_patch(asked.media_type, raw, kind_named(resource.api_version, resource.kind))
        stored = self._writer.change(asked.target, edit, asked.manner())
        return asked.answer(alone(resource, stored.raw))

    def _apply(self, asked: Asked, raw: bytes) -> web.StreamResponse:
        resource, target = asked.place.resource, asked.target
        if not asked.query.get("fieldManager"):
            raise errors.invalid_options([_MANAGER])
        config = _read_config(raw)
        if (config.get("apiVersion"), config.get("kind")) != (resource.api_version, resource.kind):
            raise errors.bad_request(f"apiVersion and kind must be {resource.api_version} {resource.kind}")
        manner = asked.manner()
        wanted = typed(resource, config, manner)
        if metadata_of(wanted).setdefault("name", asked.place.name) != asked.place.name:
            raise errors.bad_request("the name of the object does not match the name on the URL")
        wish = Wish(
            config=wanted,
            kind=kind_named(resource.api_version, resource.kind),
            api_version=resource.api_version,
            author=asked.author("Apply"),
            time=asked.now,
            force=requests.read_force(asked.query),
        )
        stored = self._store.get(target.shelf, target.key)
        result, entries = applied(None if stored is None else shown(resource, stored), wish)
        manner = dataclasses.replace(manner, track=lambda before, after: write_entries(after, entries))
        if stored is not None:
            changed = self._writer.change(target, lambda _: result, manner)
            return asked.answer(alone(resource, changed.raw))
        if manner.part is Part.STATUS:
            raise errors.not_found(resource, asked.place.name)
        asked.check_creation()
        created = self._writer.create(resource, asked.place.namespace or "", result, manner)
        return asked.answer(alone(resource, created.raw), 201)

    async def delete(self, asked: Asked) -> web.StreamResponse:
        """DELETE of an object."""
        resource = asked.place.resource
        raw = await asked.request.read()
        options, commit = requests.read_delete(asked.query, asked.media_type, raw)
        stored, outcome = self._deleter.delete(asked.target, options, commit)
        if outcome is Outcome.PENDING or resource.deletion is Deletion.OBJECT:
            return json_response(alone(resource, stored.raw))
        uid = metadata_of(stored.body())["uid"]
        return json_response(encode(errors.success(resource, asked.place.name, uid)))

    async def delete_collection(self, asked: Asked) -> web.StreamResponse:
        """DELETE of a collection: answers with the list of what was selected."""
        resource = asked.place.resource
        raw = await asked.request.read()
        options, commit = requests.read_delete(asked.query, asked.media_type, raw)
        selection = requests.read_selection(asked.query, asked.place)
        answer = list_page(self._store, selection, requests.read_paging(asked.query))
        for stored in self._store.objects(resource.storage, asked.place.namespace):
            if selection.matches(stored):
                self._deleter.delete(Target(resource, stored.key), options, commit)
        return json_response(answer)


_FORCE = FieldFault("force", Fault.FORBIDDEN, "may not be specified for non-apply patch")
_MANAGER = FieldFault("fieldManager", Fault.REQUIRED, "is required for apply patch")


def _read_config(raw: bytes) -> JsonObject:
    """The body of an apply patch: YAML, and most often its dialect JSON."""
    try:
        config = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            config = yaml.safe_load(raw)
        except (yaml.YAMLError, UnicodeDecodeError) as fault:
            raise errors.bad_request(f"error decoding YAML: {fault}") from fault
    if not isinstance(config, dict):
        raise errors.bad_request("error decoding YAML: an apply patch must be an object")
    return config
