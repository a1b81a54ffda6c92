"""The client's side of SPDY/3.1, as far as tests need it."""

import struct
import zlib
from collections.abc import Mapping

from policy_controller.testing.api_server.doors.spdy import DICTIONARY, FIN


class Client:
    """What one client sends."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def opens(self, stream: int, headers: Mapping[str, str], flags: int = 0) -> bytes:
        text = struct.pack(">I", len(headers))
        for pair in headers.items():
            for word in pair:
                text += struct.pack(">I", len(word)) + word.encode()
        block = self._headers.compress(text) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", stream, 0, 0) + block, flags)

    def connects(self, number: int, port: int) -> bytes:
        """The two streams of a connection: 4n+1 for errors and 4n+3 for data."""
        named = {"port": str(port), "requestid": str(number)}
        errors, data = 4 * number + 1, 4 * number + 3
        opened = self.opens(errors, {"streamtype": "error", **named}, FIN)
        return opened + self.opens(data, {"streamtype": "data", **named})


def control(kind: int, body: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 1 << 15 | version, kind, flags << 24 | len(body)) + body


def data(stream: int, content: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", stream, flags << 24 | len(content)) + content


def reset(stream: int) -> bytes:
    return control(3, struct.pack(">II", stream, 5))


def ping(number: int) -> bytes:
    return control(6, struct.pack(">I", number))
