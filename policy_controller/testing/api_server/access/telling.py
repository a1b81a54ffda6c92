"""`/_access`, outside of the API's own paths: what was asked of a server that authorises.

    GET /_access       {"requests": [{"question": {"user": "...", "verb": "list", "resource": "pods", ...},
                        "reason": "RBAC: allowed by ...", "times": 3}], "lost": 0}
    DELETE /_access    the same, and everything is forgotten

Only who may do everything is told.
"""

from typing import Final

from aiohttp import web

from policy_controller.testing.api_server.access.record import Record
from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.forms import JSON

PATH: Final = "/_access"


class Telling:
    """Tells of one record."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def routes(self) -> tuple[web.RouteDef, ...]:
        """What to serve."""
        return (web.get(PATH, self._tell), web.delete(PATH, self._forget))

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        del request
        return self._told()

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        del request
        answer = self._told()
        self._record.forget()
        return answer

    def _told(self) -> web.Response:
        told = encode({"requests": self._record.rows, "lost": self._record.lost})
        return web.Response(body=told, content_type=JSON)
