"""`/_faults`, outside of the API's own paths: what faults are in force, one more, one less, none.

    GET /_faults            {"faults": [{"number": 1, "met": 4, "fault": {...}}]}
    POST /_faults           a fault in JSON (values.py); answers with its number
    DELETE /_faults/1       ends one
    DELETE /_faults         ends all

Knows the form of requests and answers. No fault meets what is asked here. A server that authorises lets its developer
in and nobody else.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.faults.standing import Faults, Standing
from policy_controller.testing.api_server.faults.values import Fault
from policy_controller.testing.api_server.forms import JSON

PATH: Final = "/_faults"

Admit = Callable[[web.Request], object]
"""Raises ApiError for a request that is not let in."""


class Control:
    """The control path of one server's faults."""

    def __init__(self, faults: Faults, admit: Admit) -> None:
        self._faults = faults
        self._admit = admit

    def is_meant(self, request: web.Request) -> bool:
        """Whether a request is for the control path."""
        return request.path == PATH or request.path.startswith(f"{PATH}/")

    async def answer(self, request: web.Request) -> web.Response:
        """Do what is asked, or answer with a Status that says what is wrong."""
        try:
            self._admit(request)
            document, code = await self._done(request), 200
        except ApiError as refusal:
            document, code = refusal.status(), refusal.code
        return web.Response(body=encode(document), status=code, content_type=JSON)

    async def _done(self, request: web.Request) -> dict[str, Any]:
        number = request.path.removeprefix(PATH).removeprefix("/")
        match request.method, number:
            case "GET", "":
                pass
            case "POST", "":
                return _shown(self._faults.begin(_read(await request.read())))
            case "DELETE", "":
                self._faults.clear()
            case "DELETE", _:
                if not (number.isascii() and number.isdecimal() and self._faults.end(int(number))):
                    raise errors.no_such_path()
            case _:
                raise errors.method_not_allowed()
        return {"faults": [_shown(one) for one in self._faults.standing]}


def _read(body: bytes) -> Fault:
    try:
        return msgspec.json.decode(body, type=Fault)
    except msgspec.DecodeError as fault:
        raise errors.bad_request(f"this is no fault: {fault}") from fault


def _shown(one: Standing) -> dict[str, Any]:
    return {"number": one.number, "met": one.met, "fault": msgspec.to_builtins(one.fault)}
