"""The stream of a watch, as faults leave it, and other ways for a body to arrive badly.

Knows aiohttp's streams and the lines of a watch. Which faults are in force, it asks.
"""

import asyncio
import socket
import struct
from typing import Final

from aiohttp import web

from policy_controller.testing.api_server.documents import encode
from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.faults.asked import Asked
from policy_controller.testing.api_server.faults.standing import Faults
from policy_controller.testing.api_server.faults.values import (
    Disorder,
    End,
    ErrorEvent,
    Events,
    Reset,
    Stall,
    Trickle,
    What,
)
from policy_controller.testing.api_server.watches import line

NO_EVENT: Final = (b'{"type":"BOOKMARK"', b'{"type":"ERROR"')
TRICKLE_SECONDS: Final = 0.05
"""Between two pieces of a slow body."""
LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""socket(7), SO_LINGER: closing then discards what is unsent and resets the connection."""


def reset(request: web.BaseRequest) -> None:
    """Reset the connection of a request."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    transport.abort()


def error_line(refusal: ApiError) -> bytes:
    """The event that ends a watch with an error."""
    return line("ERROR", encode(refusal.status()))


async def trickled(response: web.StreamResponse, body: bytes, bytes_per_second: int) -> None:
    """Write a body at a speed."""
    piece = max(1, round(bytes_per_second * TRICKLE_SECONDS))
    for start in range(0, len(body), piece):
        await web.StreamResponse.write(response, body[start : start + piece])
        await asyncio.sleep(piece / bytes_per_second)


class FaultyStream(web.StreamResponse):
    """The answer to a watch, whose lines meet the faults in force."""

    def __init__(self, faults: Faults, asked: Asked, request: web.Request) -> None:
        super().__init__()
        self._request = request
        self._faults = faults
        self._asked = asked
        self._stalled = False
        self._waiting = b""
        """An event that lets the next one go first."""
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def asked(self) -> Asked:
        """What asked for it."""
        return self._asked

    def suffer(self, what: What) -> None:
        """See standing.Opened."""
        match what:
            case Reset():
                reset(self._request)
            case End():
                self._finish(b"")
            case ErrorEvent(status=status):
                self._finish(error_line(refusal_of(status)))
            case Stall():
                self._stalled = True

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write lines of a watch, less or more or in another order."""
        if self._stalled or self._eof_sent:
            return
        lines = [self._disordered(one) for one in bytes(data).splitlines(keepends=True)]
        body = b"".join(lines)
        slow = self._faults.meet(self._asked, Trickle)
        if slow is not None:
            await trickled(self, body, slow.bytes_per_second)
        elif body:
            await super().write(body)

    async def write_eof(self, data: bytes = b"") -> None:
        """End the stream; a stalled one does not even do that."""
        if self._stalled:
            await self._faults.held()
        if not self._eof_sent:
            await super().write_eof(data)

    def _disordered(self, event: bytes) -> bytes:
        if event.startswith(NO_EVENT):
            return event
        first, self._waiting = self._waiting, b""
        if first:
            return event + first
        met = self._faults.meet(self._asked, Events)
        match met.are if met is not None else None:
            case Disorder.LOST:
                return b""
            case Disorder.REPEATED:
                return event * 2
            case Disorder.SWAPPED:
                self._waiting = event
                return b""
            case None:
                return event

    def _finish(self, last: bytes) -> None:
        ending = asyncio.get_running_loop().create_task(self._end(last))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end(self, last: bytes) -> None:
        if self._stalled or self._eof_sent or self._payload_writer is None:
            return
        if last:
            await super().write(last)
        await super().write_eof()
        if self._request.transport is not None:
            # The handler waits for changes; without its connection it is cancelled.
            self._request.transport.close()


def refusal_of(status: int, retry_after: int | None = None) -> ApiError:
    """What the API server says with a status."""
    reason, message = SAYINGS.get(status, ("InternalError", f"the server answers {status}"))
    details = {} if retry_after is None else {"retryAfterSeconds": retry_after}
    return ApiError(status, reason, message, details)


SAYINGS: Final = {
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden: the client may not do this"),
    410: ("Expired", "too old resource version"),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "an error on the server has prevented the request from succeeding"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server did not answer in time"),
}
"""Reason and message by status, as metav1.StatusReason has them."""
