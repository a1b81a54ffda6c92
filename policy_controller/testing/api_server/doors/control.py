"""`/_pods`, outside of the API's own paths: whoever plays the kubelet says here how pods are reached.

    GET /_pods           {"pods": [{"uid": "...", "netns": "node-a-web", "logs": {"main": "/tmp/web.log"}}]}
    POST /_pods          a door in JSON (registry.py), which replaces that of the same pod
    DELETE /_pods/UID    shuts one

A server that authorises lets its developer in and nobody else: what is registered here is read and entered with the
server's own rights.
"""

from typing import Final

import msgspec
from aiohttp import web

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.asking import json_response
from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.doors.registry import Door, Doors

PATH: Final = "/_pods"


class Control:
    """The control path of one server's doors."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def routes(self) -> tuple[web.RouteDef, ...]:
        """What to serve."""
        return (
            web.get(PATH, self._list),
            web.post(PATH, self._open),
            web.delete(f"{PATH}/{{uid}}", self._shut),
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        del request
        return self._told()

    async def _open(self, request: web.Request) -> web.StreamResponse:
        try:
            self._doors.open(msgspec.json.decode(await request.read(), type=Door))
        except msgspec.DecodeError as fault:
            raise errors.bad_request(f"this is no door: {fault}") from fault
        return self._told()

    async def _shut(self, request: web.Request) -> web.StreamResponse:
        if not self._doors.shut(request.match_info["uid"]):
            raise errors.no_such_path()
        return self._told()

    def _told(self) -> web.Response:
        return json_response(encode({"pods": self._doors.all}))
