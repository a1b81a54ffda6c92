"""The parts of objects over HTTP: scale, token, eviction, and those that need a running pod."""

from aiohttp import web

from policy_controller.testing.api_server import errors, requests
from policy_controller.testing.api_server.access import Tokens
from policy_controller.testing.api_server.asking import Asked, json_response
from policy_controller.testing.api_server.deletes import Deleter
from policy_controller.testing.api_server.documents import JsonObject, encode, metadata_of
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.patches import parse_patch
from policy_controller.testing.api_server.resources import SUBRESOURCES
from policy_controller.testing.api_server.scale import KIND, scale_of, scaled
from policy_controller.testing.api_server.schemas.shapes import kind_named
from policy_controller.testing.api_server.store import Store, Stored
from policy_controller.testing.api_server.writes import Writer


class Parts:
    """The parts of one server's objects."""

    def __init__(self, store: Store, writer: Writer, deleter: Deleter, tokens: Tokens) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._tokens = tokens

    def _stored(self, asked: Asked) -> Stored:
        stored = self._store.get(asked.target.shelf, asked.target.key)
        if stored is None:
            raise errors.not_found(asked.place.resource, asked.place.name)
        return stored

    async def get_scale(self, asked: Asked) -> web.StreamResponse:
        """GET of a scale."""
        return json_response(encode(scale_of(self._stored(asked).body())))

    async def replace_scale(self, asked: Asked) -> web.StreamResponse:
        """PUT of a scale."""
        return self._scale(asked, await asked.document())

    async def patch_scale(self, asked: Asked) -> web.StreamResponse:
        """PATCH of a scale."""
        kind = kind_named(KIND["apiVersion"], KIND["kind"])
        edit = parse_patch(asked.media_type, await asked.request.read(), kind)
        return self._scale(asked, edit(scale_of(self._stored(asked).body())))

    def _scale(self, asked: Asked, scale: JsonObject) -> web.StreamResponse:
        stored = self._writer.change(asked.target, lambda body: scaled(body, scale), asked.manner())
        return asked.answer(encode(scale_of(stored.body())))

    async def token(self, asked: Asked) -> web.StreamResponse:
        """POST of a TokenRequest for a service account."""
        request = await asked.document()
        spec, status = self._tokens.answer(self._stored(asked), request.get("spec") or {})
        metadata = {
            "name": asked.place.name,
            "namespace": asked.place.namespace,
            "creationTimestamp": asked.now,
        }
        head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
        return asked.answer(encode({**head, "spec": spec, "status": status}), 201)

    async def evict(self, asked: Asked) -> web.StreamResponse:
        """POST of an Eviction: deletes the pod; no budget is asked."""
        eviction = await asked.document()
        body = encode(eviction.get("deleteOptions") or {})
        options, commit = requests.read_delete(asked.query, "", body)
        stored, _ = self._deleter.delete(asked.target, options, commit)
        done = errors.success(asked.place.resource, asked.place.name, metadata_of(stored.body())["uid"])
        return asked.answer(encode({**done, "code": 201}), 201)

    async def refuse(self, asked: Asked) -> web.StreamResponse:
        """Says why a part is not there."""
        self._stored(asked)
        raise ApiError(405, "MethodNotAllowed", SUBRESOURCES[asked.place.subresource].refused)
