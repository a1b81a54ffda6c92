"""How an enforcer gets to its operator, or not, over real TLS: whom it believes, what it shows, and what it says of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from compilers.ruleset.digest import digest_of
from policy_controller.clock import SystemClock
from policy_controller.enforcer.credentials import LOOK_SECONDS
from policy_controller.enforcer.dry_run import NoSnapshotError, dry_run
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.tests.node import BASE, node
from policy_controller.enforcer.tests.operator_double import FIRST_TOKEN, Site, reserved, serving, until
from policy_controller.enforcer.tests.states import NODE, WEB_CHANGED, WEB_ISOLATED
from policy_controller.testing.credentials import Authority
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.channel import BEARER, new_server
from policy_controller.wire.messages import Ack, FreshToken, NodeMessage, SnapshotMessage, Stands

SECOND_TOKEN = "second-secret-of-the-node"
STANDS = Stands(1, 1, 1)
FIRST = SnapshotMessage(1, STANDS, WEB_ISOLATED)
SECOND = SnapshotMessage(2, STANDS, WEB_CHANGED)


class Watchful(SystemClock):
    """Looks at files often, and counts how often."""

    def __init__(self) -> None:
        self.looks = 0

    async def sleep(self, seconds: float) -> None:
        if seconds == LOOK_SECONDS:
            self.looks += 1
            seconds = 0.005
        await super().sleep(seconds)

    async def look_again(self) -> None:
        """Return when what has been done by now must have been seen."""
        seen = self.looks + 1
        await until(lambda: self.looks > seen)


@pytest.fixture
def site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Site]:
    caplog.set_level(logging.DEBUG)
    with reserved() as address:
        yield Site(tmp_path, address)
    assert "secret" not in caplog.text


@asynccontextmanager
async def another_authority(site: Site) -> AsyncIterator[None]:
    site.give_ca(Authority().pem)
    async with serving(site):
        yield


@asynccontextmanager
async def another_name(site: Site) -> AsyncIterator[None]:
    site.way = replace(site.way, files=replace(site.way.files, server_name="policy-controller.other.svc"))
    async with serving(site):
        yield


@asynccontextmanager
async def an_expired_certificate(site: Site) -> AsyncIterator[None]:
    async with serving(site, certificate=site.authority.certificate(valid_for=timedelta(days=-1))):
        yield


@asynccontextmanager
async def plain_text(site: Site) -> AsyncIterator[None]:
    server = new_server()
    server.add_insecure_port(str(site.way.operator))
    await server.start()
    yield
    await server.stop(grace=0)


@asynccontextmanager
async def one_that_hangs_up(site: Site) -> AsyncIterator[None]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    host, port = site.way.operator.host, site.way.operator.port
    async with await asyncio.start_server(hang_up, host, port, reuse_port=True):
        yield


@asynccontextmanager
async def nobody(_: Site) -> AsyncIterator[None]:
    yield


@dataclass(frozen=True)
class Obstructed:
    """What is met instead of the operator, the reason that is counted, and what is said."""

    what: Callable[[Site], AbstractAsyncContextManager[None]]
    reason: str
    words: str


OBSTRUCTED = (
    Obstructed(
        another_authority,
        "certificate",
        "the operator's certificate is not one that the CA file vouches for: unable to get local issuer certificate",
    ),
    Obstructed(
        an_expired_certificate,
        "certificate",
        "the operator's certificate is not one that the CA file vouches for: certificate has expired",
    ),
    Obstructed(another_name, "server_name", "the operator's certificate is for another name"),
    Obstructed(plain_text, "not_tls", "what listens there does not speak TLS"),
    Obstructed(one_that_hangs_up, "handshake", "the TLS handshake with the operator failed"),
    Obstructed(nobody, "not_reached", "the operator is not reached: Connection refused"),
)


@pytest.mark.parametrize("met", OBSTRUCTED, ids=lambda met: met.what.__name__)
async def test_only_the_operator_is_spoken_to_and_what_else_is_met_is_told_and_counted(
    site: Site, caplog: pytest.LogCaptureFixture, met: Obstructed
) -> None:
    async with met.what(site), node(site) as one:
        await until(lambda: one.reach.trouble is not None)
        assert one.reach.trouble == met.words
        assert f"no stream to {site.way}: {met.words}\n" in caplog.text
        with pytest.raises(NoSnapshotError, match=f": {met.words}$"):
            await dry_run(NODE, site.way, FakeNft(), FakeResidence(), BASE, UnknownGates())
        assert set(one.failures()) == {met.reason}


REFUSALS = (
    (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated", "the operator does not accept the token"),
    (grpc.StatusCode.PERMISSION_DENIED, "permission_denied", "the operator refuses this node"),
    (grpc.StatusCode.UNAVAILABLE, "unavailable", "the operator cannot serve this node now"),
    (grpc.StatusCode.ABORTED, "ended", "the operator has ended the stream (ABORTED)"),
)


@pytest.mark.parametrize(("code", "reason", "words"), REFUSALS, ids=str)
async def test_a_refusal_is_told_with_the_operators_reason_and_asked_again_with_what_the_files_hold_then(
    site: Site, caplog: pytest.LogCaptureFixture, code: grpc.StatusCode, reason: str, words: str
) -> None:
    async with serving(site) as operator, node(site) as one:
        stream, _ = await operator.next_stream()
        assert stream.authorization == BEARER + FIRST_TOKEN
        site.give_token(SECOND_TOKEN)
        stream.refuse(code, "because\nit is so")
        stream, _ = await operator.next_stream()
        assert one.reach.trouble == f"{words}: because\\nit is so"
        assert f"no stream to {site.way}: {words}: because\\nit is so\n" in caplog.text
        assert one.failures() == {reason: 1}
        assert stream.authorization == BEARER + SECOND_TOKEN
        assert isinstance(await stream.say(FIRST), Ack)
        assert one.reach.trouble is None


async def test_what_the_environment_says_of_proxies_leads_nowhere_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(site) as operator, node(site) as one:
        stream, _ = await operator.next_stream()
        assert isinstance(await stream.say(FIRST), Ack)
        assert one.failures() == {}


async def test_a_connection_that_breaks_is_no_word_of_the_operators(site: Site) -> None:
    async with node(site) as one:
        # gRPC may tell of the end of a call a moment before its channel knows that the connection is gone.
        for _ in range(5):
            async with serving(site) as operator:
                stream, _ = await operator.next_stream()
                await stream.say(FIRST)
            await until(lambda: one.reach.trouble is not None)
            if "lost" in one.failures():
                break
        assert "lost" in one.failures()
        assert set(one.failures()) <= {"lost", "not_reached", "unavailable"}


async def test_a_ca_that_is_not_there_yet_is_waited_for(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.way.files.ca.unlink()
    async with serving(site) as operator, node(site, Watchful()) as one:
        await until(lambda: one.reach.trouble is not None)
        assert one.reach.trouble == f"waiting for the CA: {site.way.files.ca} is not there"
        site.give_ca(site.authority.pem)
        stream, _ = await operator.next_stream()
        assert isinstance(await stream.say(FIRST), Ack)
        assert one.reach.trouble is None
        assert one.failures() == {}
    assert caplog.text.count("waiting for the CA") == 1
    assert caplog.text.count("what was waited for is there") == 1


async def test_a_ca_that_changes_keeps_the_stream_and_is_what_the_next_connection_goes_by(site: Site) -> None:
    async with node(site) as one:
        async with serving(site) as operator:
            stream, _ = await operator.next_stream()
            await stream.say(FIRST)
            before, site.authority = site.authority, Authority()
            site.give_ca(before.pem + site.authority.pem)
            assert await stream.say(SECOND) == Ack(2, digest_of(WEB_CHANGED))
            site.give_ca(site.authority.pem)
            assert await stream.say(SnapshotMessage(3, STANDS, WEB_ISOLATED)) == Ack(
                3, digest_of(WEB_ISOLATED)
            )
            assert one.failures() == {}
        async with serving(site) as operator:
            stream, _ = await operator.next_stream()
            assert isinstance(await stream.say(FIRST), Ack)
        assert "certificate" not in one.failures()


async def test_a_token_that_changes_is_shown_once_on_the_stream_that_stands(site: Site) -> None:
    clock = Watchful()
    async with serving(site) as operator, node(site, clock) as one:
        stream, _ = await operator.next_stream()
        await stream.say(FIRST)
        for token in (SECOND_TOKEN, FIRST_TOKEN):
            # While it is gone the stream stands by the last one.
            site.way.files.token.unlink()
            await clock.look_again()
            site.give_token(token)
            assert await stream.hear() == FreshToken(token)
            await clock.look_again()
        # Had it been shown again, that would be heard instead of the answer.
        assert await stream.say(SECOND) == Ack(2, digest_of(WEB_CHANGED))
        assert one.failures() == {}


async def test_tokens_and_answers_come_whole_when_both_are_many(site: Site) -> None:
    async with serving(site) as operator, node(site, Watchful()) as one:
        stream, _ = await operator.next_stream()
        told, heard, tokens = 0, list[NodeMessage](), 0
        while told < 20:
            tokens, told = tokens + 1, told + 1
            site.give_token(f"{SECOND_TOKEN}-{tokens}")
            heard.append(await stream.say(SnapshotMessage(told, STANDS, WEB_CHANGED)))
        while sum(isinstance(one, Ack) for one in heard) < told:
            heard.append(await stream.hear())
        assert [one.generation for one in heard if isinstance(one, Ack)] == list(range(1, told + 1))
        shown = [one.token for one in heard if isinstance(one, FreshToken)]
        assert shown
        assert len(set(shown)) == len(shown)
        assert one.failures() == {}
