"""Frames of SPDY/3.1, as far as a server needs them that forwards ports: bytes in, frames out, and back.

Knows the framing and the compressed headers. Knows nothing of connections; whoever holds it feeds it what has come, in
pieces of any size, and sends what it makes. Source: draft-mbelshe-httpbis-spdy-00, and version 3.1's note on it.
"""

import enum
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

VERSION: Final = 3
FIN: Final = 0x01
FRAME_LIMIT: Final = 1 << 20
"""Bytes; no client sends larger ones."""

HEADERS_LIMIT: Final = 64 * 1024
PIECE: Final = 32 * 1024
"""Bytes of data in one frame that is made here."""

_WORDS: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_CODES: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
)
_REST: Final = (
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY: Final = (
    b"".join(struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split())
    + (_CODES + _REST).encode()
)
"""What both sides of the compression begin with (section 2.6.10.1 of the draft)."""


class Control(enum.Enum):
    """The control frames that matter; others are read over."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    GOAWAY = 7


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opens a stream."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream."""

    stream: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The client sends nothing more on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The client wants nothing more of a stream, and sends nothing."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is."""

    number: int


Frame = Opened | Data | Finished | Reset | Ping


class SpdyError(Exception):
    """What came is not SPDY/3.1, or more than anybody needs."""


class Reader:
    """Reads what one client sends."""

    def __init__(self) -> None:
        self._waiting = b""
        self._headers = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, content: bytes) -> Iterator[Frame]:
        """The frames that are whole now.

        Raises:
            SpdyError: nothing can be read any more.
        """
        self._waiting += content
        while len(self._waiting) >= 8:
            first, second = struct.unpack_from(">II", self._waiting)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > FRAME_LIMIT:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._waiting) < 8 + length:
                return
            body, self._waiting = self._waiting[8 : 8 + length], self._waiting[8 + length :]
            if first >> 31:
                yield from self._control(first & 0x7FFFFFFF, flags, body)
            else:
                if body:
                    yield Data(first, body)
                if flags & FIN:
                    yield Finished(first)

    def _control(self, head: int, flags: int, body: bytes) -> Iterator[Frame]:
        if head >> 16 != VERSION:
            raise SpdyError(f"version {head >> 16}")
        kind = head & 0xFFFF
        if kind not in {Control.SYN_STREAM.value, Control.RST_STREAM.value, Control.PING.value}:
            return
        if len(body) < (10 if kind == Control.SYN_STREAM.value else 4):
            raise SpdyError(f"a frame of kind {kind} with {len(body)} bytes")
        number = int.from_bytes(body[:4]) & 0x7FFFFFFF
        match Control(kind):
            case Control.SYN_STREAM:
                yield Opened(number, self._read_headers(body[10:]))
                if flags & FIN:
                    yield Finished(number)
            case Control.RST_STREAM:
                yield Reset(number)
            case _:
                yield Ping(int.from_bytes(body[:4]))

    def _read_headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._headers.decompress(block, HEADERS_LIMIT)
        except zlib.error as fault:
            raise SpdyError(f"headers: {fault}") from fault
        if self._headers.unconsumed_tail:
            raise SpdyError(f"more than {HEADERS_LIMIT} bytes of headers")
        words, at = [], 4
        while at < len(text):
            length = int.from_bytes(text[at : at + 4])
            words.append(text[at + 4 : at + 4 + length].decode("latin-1"))
            at += 4 + length
        if at != len(text) or len(words) != 2 * int.from_bytes(text[:4]):
            raise SpdyError("headers end early")
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}


class Writer:
    """Makes what is sent to one client."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def accept(self, stream: int) -> bytes:
        """A stream is open now, both ways."""
        none = self._headers.compress(struct.pack(">I", 0)) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return _control(Control.SYN_REPLY, struct.pack(">I", stream) + none)

    def data(self, stream: int, content: bytes) -> bytes:
        """Bytes of a stream."""
        pieces = (content[at : at + PIECE] for at in range(0, len(content), PIECE))
        return b"".join(struct.pack(">II", stream, len(piece)) + piece for piece in pieces)

    def finish(self, stream: int) -> bytes:
        """Nothing more is sent on a stream."""
        return struct.pack(">II", stream, FIN << 24)

    def pong(self, number: int) -> bytes:
        """The answer to a ping."""
        return _control(Control.PING, struct.pack(">I", number))


def _control(kind: Control, body: bytes) -> bytes:
    return struct.pack(">HHI", 1 << 15 | VERSION, kind.value, len(body)) + body
