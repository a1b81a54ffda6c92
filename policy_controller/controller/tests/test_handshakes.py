"""Handshakes that fail inside gRPC's core: over real sockets, and what is counted of them."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import grpc.aio
import pytest

from policy_controller.controller.identity.handshakes import Failure, Handshakes, classify
from policy_controller.controller.tests.scripted_node import Door, ScriptedNode, node, open_stream
from policy_controller.controller.tests.serving import Served, serving
from policy_controller.controller.tests.test_crowds import connected
from policy_controller.controller.tests.waiting import eventually
from policy_controller.logs import NativeLine
from policy_controller.logs.capture import Capture
from policy_controller.testing.credentials import SERVER_NAME, Authority
from policy_controller.wire.channel import OPTIONS, HostPort
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub

Record = Callable[[str, object], None]


@contextmanager
def heard() -> Iterator[Handshakes]:
    """Counts what gRPC's core prints in the block."""
    handshakes = Handshakes()
    capture = Capture(lambda line: handshakes.hear(NativeLine.parse(line).text), NativeLine.is_whole)
    try:
        yield handshakes
    finally:
        capture.end()
        os.close(capture.saved)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


async def plain_grpc(served: Served) -> None:
    async with grpc.aio.insecure_channel(str(served.door.address), options=OPTIONS) as connection:
        stranger = ScriptedNode("node-a", EnforcementStub(connection).Enforce())
        assert (await stranger.ending()).code() is grpc.StatusCode.UNAVAILABLE


async def plain_http(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: policy-controller\r\n\r\n")
    assert b"HTTP" not in await reader.read()
    writer.close()


async def other_authority(served: Served, latest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
    context = ssl.create_default_context(cadata=Authority().pem.decode())
    context.maximum_version = latest

    def meet() -> None:
        with (
            socket.create_connection(("127.0.0.1", served.server.port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname=SERVER_NAME)

    await asyncio.to_thread(meet)


async def old_protocol(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.authority.pem.decode())
    # OpenSSL would not even try on its usual level.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    def meet() -> None:
        with (
            socket.create_connection(("127.0.0.1", served.server.port)) as plain,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(plain, server_hostname=SERVER_NAME)

    await asyncio.to_thread(meet)


FAILURES: dict[str, tuple[Callable[[Served], Awaitable[None]], Failure]] = {
    "gRPC without TLS": (plain_grpc, Failure.PLAIN_TEXT),
    "HTTP": (plain_http, Failure.PLAIN_TEXT),
    "a client that trusts another authority": (other_authority, Failure.UNTRUSTED),
    "the same with TLS 1.2": (
        partial(other_authority, latest=ssl.TLSVersion.TLSv1_2),
        Failure.UNTRUSTED,
    ),
    "TLS 1.1": (old_protocol, Failure.OTHER),
}


@pytest.mark.parametrize(("meet", "failure"), FAILURES.values(), ids=list(FAILURES))
async def test_a_handshake_that_fails_is_counted_by_its_reason(
    served: Served,
    meet: Callable[[Served], Awaitable[None]],
    failure: Failure,
    caplog: pytest.LogCaptureFixture,
    record_property: Record,
) -> None:
    with heard() as handshakes:
        await meet(served)
        await eventually(lambda: handshakes.failures[failure] > 0)
    assert set(handshakes.failures) == {failure}
    assert f"a TLS handshake failed: {failure.value}" in caplog.text
    # No call came of it.
    assert served.server.ended == {}
    async with node(served.door, "node-a"):
        await served.connected("node-a")
    record_property("callers that were not to be served, refused over real TLS", 1)


Change = Callable[[Served], Awaitable[Door]]


async def another_trust(served: Served) -> Door:
    return replace(served.door, trust=Authority().trust())


async def another_name(served: Served) -> Door:
    return replace(served.door, trust=served.authority.trust("policy-controller.elsewhere.svc"))


async def an_expired_certificate(served: Served) -> Door:
    await served.server.stop()
    expired = served.authority.certificate(valid_for=timedelta(hours=-1))
    await served.server.start(HostPort("127.0.0.1", 0), lambda: expired)
    return served.door


REFUSED: dict[str, tuple[Change, str]] = {
    "trusts another authority": (another_trust, "CERTIFICATE_VERIFY_FAILED"),
    "expects another name": (another_name, "Hostname Verification Check failed"),
    "finds it expired": (an_expired_certificate, "CERTIFICATE_VERIFY_FAILED"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=list(REFUSED))
async def test_a_grpc_client_that_does_not_trust_us_hangs_up_and_says_why_itself(
    served: Served, change: Change, words: str, record_property: Record
) -> None:
    door = await change(served)
    async with open_stream(door) as stream:
        error = await ScriptedNode("node-a", stream).ending()
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert words in (error.details() or "")
    assert served.server.handshakes > 0
    assert served.server.opened == 0
    assert served.reviews.asked == []
    record_property("servers that were not to be trusted, refused over real TLS", 1)


async def test_a_client_cannot_have_failures_counted_that_there_were_not(served: Served) -> None:
    words = b"x\nI1124 12:26:15.5 1 a.cc:1] Handshake failed with error SSL_ERROR_SSL: OPENSSL_internal:HTTP_REQUEST\n"
    frame = b"\0\0\0\0" + b"\0\0\0\2" + words
    with heard() as handshakes:
        reader, writer = await connected(served)
        # GOAWAY, which gRPC's core repeats in its log (RFC 9113, section 6.8).
        writer.write(len(frame).to_bytes(3, "big") + b"\7\0\0\0\0\0" + frame)
        # PING, whose answer says that what was before it has been read (section 6.7).
        writer.write(b"\0\0\x08\6\0\0\0\0\0" + b"question")
        await reader.readuntil(b"question")
        writer.close()
        await plain_http(served)
        await eventually(lambda: handshakes.failures.total() > 0)
    assert handshakes.failures == {Failure.PLAIN_TEXT: 1}


LINES: dict[str, Failure | None] = {
    "Handshake failed with error SSL_ERROR_SSL: error:1000042e:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION": (
        Failure.OTHER
    ),
    "Handshake failed with error SSL_ERROR_SYSCALL: ": Failure.OTHER,
    "ipv4:127.0.0.1:40173: Got goaway [2]": None,
    "ipv4:127.0.0.1:40173: Got goaway [2] Debug Text: Handshake failed with error SSL_ERROR_SSL: OPENSSL_internal:HTTP_REQUEST": None,
    "": None,
}


@pytest.mark.parametrize(("line", "failure"), LINES.items(), ids=list(LINES))
def test_other_lines_are_other_failures_or_none(line: str, failure: Failure | None) -> None:
    assert classify(line) is failure


def test_many_failures_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    handshakes = Handshakes()
    for _ in range(1_000):
        handshakes.hear("Handshake failed with error SSL_ERROR_SSL: OPENSSL_internal:HTTP_REQUEST")
    assert handshakes.failures == {Failure.PLAIN_TEXT: 1_000}
    assert len(caplog.records) == 10
