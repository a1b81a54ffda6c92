"""Puts faults into force around the server's own handlers.

Knows how each fault is done to a request. Which ones are in force, it asks.
"""

from aiohttp import web
from aiohttp.typedefs import Middleware

from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.faults.asked import Asked, Verb, asked
from policy_controller.testing.api_server.faults.control import Admit, Control
from policy_controller.testing.api_server.faults.standing import Faults
from policy_controller.testing.api_server.faults.streams import (
    FaultyStream,
    error_line,
    refusal_of,
    reset,
    trickled,
)
from policy_controller.testing.api_server.faults.values import (
    End,
    ErrorEvent,
    Garbage,
    HalfList,
    Hang,
    Refuse,
    Reset,
    StaleList,
    Stall,
    Trickle,
)
from policy_controller.testing.api_server.forms import JSON
from policy_controller.testing.api_server.http import STREAM, Handler


def middleware(faults: Faults, admit: Admit) -> Middleware:
    """A middleware that does these faults to every request but those of the control path, which must be let in."""
    control = Control(faults, admit)

    @web.middleware
    async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
        if control.is_meant(request):
            return await control.answer(request)
        subject = asked(request)
        instead = await _instead(faults, subject, request)
        if instead is not None:
            return instead
        if subject.verb is Verb.WATCH:
            return await _watch(faults, subject, request, handler)
        response = await handler(_aged(faults, subject, request))
        return await _delivered(faults, subject, request, response)

    return faulty


async def _instead(faults: Faults, subject: Asked, request: web.Request) -> web.StreamResponse | None:
    """What is answered without asking the server at all; None: nothing of the kind."""
    match faults.meet(subject, Refuse, Reset, Hang, Garbage, End, ErrorEvent):
        case Refuse(status=status, retry_after=seconds):
            told = {} if seconds is None else {"Retry-After": str(seconds)}
            body = encode(refusal_of(status, seconds).status())
            return web.Response(body=body, status=status, headers=told, content_type=JSON)
        case Reset():
            reset(request)
            return web.Response()
        case Hang():
            await faults.held()
            reset(request)
            return web.Response()
        case Garbage(content_type=content_type, body=body):
            return web.Response(body=body.encode(), headers={"Content-Type": content_type})
        case End():
            return web.Response(body=b"", content_type=JSON)
        case ErrorEvent(status=status):
            return web.Response(body=error_line(refusal_of(status)), content_type=JSON)
        case _:
            return None


async def _watch(
    faults: Faults, subject: Asked, request: web.Request, handler: Handler
) -> web.StreamResponse:
    stream = FaultyStream(faults, subject, request)
    stall = faults.meet(subject, Stall)
    if stall is not None:
        stream.suffer(stall)
    request[STREAM] = stream
    with faults.opened(stream):
        return await handler(request)


def _aged(faults: Faults, subject: Asked, request: web.Request) -> web.Request:
    """The request, asking for an older version where it is to be answered so."""
    # The pages after the first are of the first one's version anyway.
    if request.query.get("continue"):
        return request
    stale = faults.meet(subject, StaleList)
    if stale is None:
        return request
    exact = {"resourceVersion": str(stale.version), "resourceVersionMatch": "Exact"}
    return request.clone(rel_url=request.rel_url.update_query(exact))


async def _delivered(
    faults: Faults, subject: Asked, request: web.Request, response: web.StreamResponse
) -> web.StreamResponse:
    """The answer on its way to the client."""
    body = response.body if isinstance(response, web.Response) else None
    met = faults.meet(subject, HalfList, Trickle) if isinstance(body, bytes) else None
    if met is None or not isinstance(body, bytes):
        return response
    sent = web.StreamResponse(status=response.status, headers={"Content-Type": response.content_type})
    sent.content_length = len(body)
    await sent.prepare(request)
    match met:
        case HalfList():
            await sent.write(body[: len(body) // 2])
            if request.transport is not None:
                request.transport.close()
        case Trickle(bytes_per_second=speed):
            await trickled(sent, body, speed)
    return sent
