"""Frames of SPDY/3.1: read whole from any pieces, and refused when they are not such."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.testing.api_server.doors.spdy import (
    FIN,
    FRAME_LIMIT,
    HEADERS_LIMIT,
    Data,
    Finished,
    Opened,
    Ping,
    Reader,
    Reset,
    SpdyError,
    Writer,
)
from policy_controller.testing.api_server.doors.tests.spdy_client import Client, control, data, ping, reset

ERRORS = {"streamtype": "error", "port": "80", "requestid": "0"}
DATA = {**ERRORS, "streamtype": "data"}


@pytest.mark.parametrize("size", [1, 2, 7, 8, 1000])
def test_frames_are_the_same_in_pieces_of_any_size(size: int) -> None:
    client = Client()
    sent = client.opens(1, ERRORS, FIN) + client.opens(3, DATA) + data(3, b"hello")
    sent += control(4, bytes(4)) + ping(7) + data(3, b"", FIN) + reset(3) + control(7, bytes(8))
    reader = Reader()
    frames = [frame for at in range(0, len(sent), size) for frame in reader.feed(sent[at : at + size])]
    assert frames == [
        Opened(1, ERRORS),
        Finished(1),
        Opened(3, DATA),
        Data(3, b"hello"),
        Ping(7),
        Finished(3),
        Reset(3),
    ]


def test_what_is_written_is_read() -> None:
    writer, reader = Writer(), Reader()
    content = bytes(range(256)) * 1000
    sent = writer.data(5, content) + writer.pong(9) + writer.finish(5)
    frames = list(reader.feed(sent))
    assert b"".join(frame.content for frame in frames if isinstance(frame, Data)) == content
    assert frames[-2:] == [Ping(9), Finished(5)]
    for stream in (1, 3):
        accepted = writer.accept(stream)
        assert struct.unpack_from(">III", accepted) == (0x80030002, len(accepted) - 8, stream)


BROKEN = {
    "another version": control(1, bytes(12), version=2),
    "a large frame": struct.pack(">II", 1, FRAME_LIMIT + 1),
    "a short stream": control(1, bytes(9)),
    "a short reset": control(3, bytes(3)),
    "headers that are not compressed": control(1, bytes(10) + b"plain"),
    "headers without end": Client().opens(1, {"a" * HEADERS_LIMIT: "b"}),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_is_not_spdy_is_refused(sent: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Reader().feed(sent))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(control, st.integers(0, 9), st.binary(max_size=20)),
        )
    )
)
def test_any_bytes_are_frames_or_refused(pieces: list[bytes]) -> None:
    reader = Reader()
    for piece in pieces:
        try:
            list(reader.feed(piece))
        except SpdyError:
            return
