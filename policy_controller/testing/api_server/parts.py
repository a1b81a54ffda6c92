"""The parts of objects over HTTP: scale, token, eviction, and those that need a running pod."""

import functools
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from policy_controller.testing.api_server import errors, requests
from policy_controller.testing.api_server.access import Tokens
from policy_controller.testing.api_server.asking import Asked, json_response
from policy_controller.testing.api_server.deletes import Deleter
from policy_controller.testing.api_server.documents import JsonObject, encode, metadata_of
from policy_controller.testing.api_server.doors import Door, Doors, channels, tunnel
from policy_controller.testing.api_server.doors.dialling import dial
from policy_controller.testing.api_server.doors.logs import said
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.patches import parse_patch
from policy_controller.testing.api_server.resources import SUBRESOURCES
from policy_controller.testing.api_server.scale import KIND, scale_of, scaled
from policy_controller.testing.api_server.schemas.shapes import kind_named
from policy_controller.testing.api_server.store import Store, Stored
from policy_controller.testing.api_server.writes import Writer


class Parts:
    """The parts of one server's objects."""

    def __init__(self, store: Store, writer: Writer, deleter: Deleter, tokens: Tokens, doors: Doors) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._tokens = tokens
        self._doors = doors

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

    async def forward_ports(self, asked: Asked) -> web.StreamResponse:
        """GET of a pod's forwarded ports, which becomes a WebSocket."""
        door = self._door(asked)
        protocols = (tunnel.PROTOCOL, channels.PROTOCOL)
        socket = web.WebSocketResponse(protocols=protocols, max_msg_size=channels.MESSAGE_LIMIT)
        if not socket.can_prepare(asked.request):
            raise errors.bad_request("Upgrade request required")
        offered = asked.request.headers.get("Sec-WebSocket-Protocol", "")
        to_port = functools.partial(dial, door)
        if tunnel.PROTOCOL in (word.strip() for word in offered.split(",")):
            await socket.prepare(asked.request)
            await tunnel.Tunnel(socket, to_port).run()
        else:
            ports = _ports(asked.query.getall("ports", []))
            await socket.prepare(asked.request)
            await channels.forward(socket, ports, to_port)
        return socket

    async def log(self, asked: Asked) -> web.StreamResponse:
        """GET of what a container said."""
        door = self._door(asked)
        container = asked.query.get("container") or (next(iter(door.logs)) if len(door.logs) == 1 else "")
        names = " ".join(sorted(door.logs))
        if not container:
            why = f"a container name must be specified for pod {asked.place.name}, choose one of: [{names}]"
            raise errors.bad_request(why)
        if container not in door.logs:
            raise errors.bad_request(f"container {container} is not valid for pod {asked.place.name}")
        tail, follow = requests.read_log(asked.query)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(asked.request)
        async for piece in said(Path(door.logs[container]), tail, follow=follow):
            await response.write(piece)
        await response.write_eof()
        return response

    def _door(self, asked: Asked) -> Door:
        """How the pod is reached.

        Raises:
            ApiError: 404; 405 where nobody runs it.
        """
        door = self._doors.find(metadata_of(self._stored(asked).body())["uid"])
        if door is None:
            raise ApiError(405, "MethodNotAllowed", SUBRESOURCES[asked.place.subresource].refused)
        return door

    async def refuse(self, asked: Asked) -> web.StreamResponse:
        """Says why a part is not there."""
        self._stored(asked)
        raise ApiError(405, "MethodNotAllowed", SUBRESOURCES[asked.place.subresource].refused)


def _ports(texts: Sequence[str]) -> list[int]:
    """The ports of a query; they may be listed with commas, too."""
    words = [word for text in texts for word in text.split(",")]
    if not words:
        raise errors.bad_request('query parameter "ports" is required')
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= 5 and 0 < int(word) < 1 << 16):
            raise errors.bad_request(f'unable to parse "{word}" as a port')
    return [int(word) for word in words]
