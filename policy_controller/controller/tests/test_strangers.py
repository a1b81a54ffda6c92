"""Who is not served, over real TLS and gRPC: each with its status, a reason in the log, a count, and no rule set."""

import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from policy_controller.controller.bounds import Bound
from policy_controller.controller.identity.caller import RETRY_SECONDS, REVIEW_SECONDS
from policy_controller.controller.identity.files import CertificateFiles
from policy_controller.controller.identity.handshakes import Handshakes
from policy_controller.controller.identity.metrics import IdentityCollector
from policy_controller.controller.identity.patience import MOST
from policy_controller.controller.identity.refusals import CODES, Reason
from policy_controller.controller.identity.reviewer import FRESH_SECONDS
from policy_controller.controller.tests.scripted_node import ScriptedNode, node, open_stream
from policy_controller.controller.tests.serving import Served, serving
from policy_controller.controller.tests.test_sessions import desired
from policy_controller.controller.tests.waiting import eventually
from policy_controller.logs.restraint import BURST, EACH_SECOND
from policy_controller.testing.credentials import NAMESPACE
from policy_controller.wire import channel
from policy_controller.wire.channel import AUTHORIZATION, BEARER
from policy_controller.wire.convert import encode_node
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub
from policy_controller.wire.messages import DeltaMessage, FreshToken, Hello, SnapshotMessage

Record = Callable[[str, object], None]
COUNTED = "callers that were not to be served, refused over real TLS"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """With a node that is connected, so that there is a rule set to be had."""
    async with serving() as running, node(running.door, "node-a") as one:
        await running.connected("node-a")
        for name in ("node-a", "node-b"):
            running.streams.desire(name, desired(1))
        await one.apply()
        yield running


def counts(served: Served) -> list[str]:
    """The metrics of who calls."""
    registry = CollectorRegistry()
    files = CertificateFiles(Path("/none"), Path("/none"), served.clock, served.today)
    registry.register(IdentityCollector(served.server, served.reviewer, files, Handshakes(), lambda: 0))
    return generate_latest(registry).decode().splitlines()


def check(served: Served, error: grpc.aio.AioRpcError, reason: Reason, log: pytest.LogCaptureFixture) -> None:
    """The stream has ended for this reason, and that is told and counted."""
    assert error.code() is CODES[reason]
    assert (error.details() or "").startswith(f"{reason.value}: ")
    assert f'policy_controller_refused_streams_total{{reason="{reason.value}"}} 1.0' in counts(served)
    told = [record.getMessage() for record in log.records if record.name.endswith("controller.server")]
    assert [line for line in told if reason.value in line and "ipv4:127.0.0.1:" in line]
    for token in (*served.reviews.asked, *served.reviews._minted):
        assert token not in log.text


Metadata = tuple[tuple[str, str], ...]


def bearing(token: str) -> Metadata:
    return ((AUTHORIZATION, BEARER + token),)


FAR_OFF = b'{"exp": 1' + b"0" * 400 + b"}"
ENDLESS = ".".join(("h", urlsafe_b64encode(FAR_OFF).decode().rstrip("="), "s"))
Ask = Callable[[Served], Metadata]
OTHERS: dict[str, tuple[Ask, Reason]] = {
    "no token": (lambda _: (), Reason.NO_TOKEN),
    "a password": (lambda _: ((AUTHORIZATION, "Basic eDp5"),), Reason.MALFORMED_TOKEN),
    "garbage": (lambda _: bearing("garbage"), Reason.INVALID_TOKEN),
    "a forged token that never expires": (lambda _: bearing(ENDLESS), Reason.INVALID_TOKEN),
    "an expired token": (
        lambda served: bearing(served.reviews.mint("node-b", seconds=-1)),
        Reason.EXPIRED_TOKEN,
    ),
    "a token for the API server": (
        lambda served: bearing(served.reviews.mint("node-b", audience="https://kubernetes.default.svc")),
        Reason.OTHER_AUDIENCE,
    ),
    "a token of another account": (
        lambda served: bearing(
            served.reviews.mint("node-b", user=f"system:serviceaccount:{NAMESPACE}:default")
        ),
        Reason.OTHER_ACCOUNT,
    ),
    "a token of no node": (lambda served: bearing(served.reviews.mint_extra({})), Reason.NO_NODE),
    "node A's token": (lambda served: bearing(served.reviews.mint("node-a")), Reason.OTHER_NODE),
}


@pytest.mark.parametrize(("ask", "reason"), OTHERS.values(), ids=list(OTHERS))
async def test_nobody_gets_the_rule_set_of_node_b_with(
    served: Served, ask: Ask, reason: Reason, caplog: pytest.LogCaptureFixture, record_property: Record
) -> None:
    caplog.set_level(logging.INFO)
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        stranger = ScriptedNode("node-b", EnforcementStub(connection).Enforce(metadata=ask(served)))
        if reason is Reason.OTHER_NODE:
            # All others are refused before they have said anything; grpc.aio fails at a write that comes too late.
            await stranger.say(Hello("node-b"))
        error = await stranger.ending()
    check(served, error, reason, caplog)
    assert stranger.heard == []
    # Who was there already is none the worse.
    assert served.streams.nodes == ("node-a",)
    record_property(COUNTED, 1)


async def test_what_the_api_server_says_of_a_bad_token_is_for_the_log_alone(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        stream = EnforcementStub(connection).Enforce(metadata=bearing("garbage"))
        error = await ScriptedNode("node-b", stream).ending()
    # An API server may add what its webhooks answer, and where they are.
    words = "service account token has been invalidated"
    assert words in caplog.text
    assert words not in (error.details() or "")


async def test_a_client_certificate_is_no_token(
    served: Served, caplog: pytest.LogCaptureFixture, record_property: Record
) -> None:
    own = served.authority.certificate("node-b")
    credentials = grpc.ssl_channel_credentials(served.authority.pem, own.key, own.chain)
    named = (("grpc.ssl_target_name_override", served.door.trust.server_name),)
    async with grpc.aio.secure_channel(str(served.door.address), credentials, options=named) as connection:
        stranger = ScriptedNode("node-b", EnforcementStub(connection).Enforce())
        error = await stranger.ending()
    check(served, error, Reason.NO_TOKEN, caplog)
    assert stranger.heard == []
    record_property(COUNTED, 1)


async def test_nothing_is_asked_of_the_api_server_for_a_caller_without_a_token(served: Served) -> None:
    before = list(served.reviews.asked)
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        await ScriptedNode("node-b", EnforcementStub(connection).Enforce()).ending()
    assert served.reviews.asked == before


async def test_a_flood_of_one_kind_is_counted_whole_and_told_in_part_and_hides_no_other_kind(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with channel.secure_connect(served.door.address, served.door.trust) as connection:
        for _ in range(BURST + 5):
            await EnforcementStub(connection).Enforce().code()
        await EnforcementStub(connection).Enforce(metadata=bearing("garbage")).code()
        await served.clock.advance(1 / EACH_SECOND)
        await EnforcementStub(connection).Enforce().code()
    assert served.server.refused == {Reason.NO_TOKEN: BURST + 6, Reason.INVALID_TOKEN: 1}
    told = [record.getMessage() for record in caplog.records]
    assert sum(": no-token: " in line for line in told) == BURST + 1
    assert sum(": invalid-token: " in line for line in told) == 1
    assert told[-2] == "5 streams that were ended are left out here: no-token"


@asynccontextmanager
async def held(served: Served, token: str) -> AsyncIterator[ScriptedNode]:
    """node-c, with this token, and a snapshot in force."""
    async with open_stream(served.door, [encode_node(Hello("node-c"))], token) as stream:
        one = ScriptedNode("node-c", stream)
        await served.connected("node-c")
        served.streams.desire("node-c", desired(1))
        assert isinstance(await one.apply(), SnapshotMessage)
        await eventually(lambda: served.streams.statuses()["node-c"].current)
        yield one


async def goes_on(served: Served, one: ScriptedNode, number: int) -> None:
    """The stream carries what is desired next."""
    served.streams.desire("node-c", desired(number))
    assert isinstance(await one.apply(), DeltaMessage)
    # The clock must not move while an answer is under way.
    await eventually(lambda: served.streams.statuses()["node-c"].current)


async def test_a_stream_ends_at_the_next_review_once_its_pod_is_gone(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    token = served.reviews.mint("node-c")
    async with held(served, token) as one:
        await served.clock.advance(REVIEW_SECONDS)
        await eventually(lambda: served.reviews.asked.count(token) == 2)
        await goes_on(served, one, 2)
        served.reviews.revoke(token)
        await served.clock.advance(REVIEW_SECONDS)
        error = await one.ending()
    check(served, error, Reason.INVALID_TOKEN, caplog)
    assert "node-c" not in served.streams.nodes


async def test_a_stream_that_begins_on_an_old_word_ends_no_later_than_one_on_a_new_word(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    token = served.reviews.mint("node-c")
    async with held(served, token):
        await served.clock.advance(FRESH_SECONDS - REVIEW_SECONDS / 5 - 1)
    served.reviews.revoke(token)
    async with held(served, token) as one:
        assert served.reviews.asked.count(token) == 1
        await served.clock.advance(REVIEW_SECONDS / 5 + 1)
        check(served, await one.ending(), Reason.INVALID_TOKEN, caplog)


async def test_a_stream_whose_token_is_not_renewed_ends_with_it(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with held(served, served.reviews.mint("node-c", seconds=REVIEW_SECONDS / 2)) as one:
        await served.clock.advance(REVIEW_SECONDS)
        check(served, await one.ending(), Reason.EXPIRED_TOKEN, caplog)


async def test_a_fresh_token_keeps_a_stream_beyond_its_first_one(served: Served) -> None:
    first, second = served.reviews.mint("node-c", seconds=REVIEW_SECONDS), served.reviews.mint("node-c")
    async with held(served, first) as one:
        await one.say(FreshToken(second))
        await eventually(lambda: second in served.reviews.asked)
        await served.clock.advance(3 * REVIEW_SECONDS)
        await eventually(lambda: served.reviews.asked.count(second) > 2)
        assert served.reviews.asked.count(first) == 1
        await goes_on(served, one, 2)


async def test_a_node_that_offers_token_after_token_has_few_reviewed_and_goes_on(served: Served) -> None:
    token = served.reviews.mint("node-c")
    async with held(served, token) as one:
        for number in range(1, MOST + 1):
            await one.say(FreshToken(token))
            await eventually(partial(asked_of, served, token, 1 + number))
        for _ in range(5):
            await one.say(FreshToken("garbage"))
        await goes_on(served, one, 2)
        assert served.reviews.asked.count(token) == 1 + MOST
        assert "garbage" not in served.reviews.asked
        # What comes while another is not looked at yet takes its place.
        assert 1 <= served.reviewer.hits.of(Bound.TOKENS_OF_NODE) <= 5


async def test_a_fresh_token_is_reviewed_however_many_others_of_the_same_address_have_used_up(
    served: Served,
) -> None:
    patience, offers = served.reviewer._patience, served.reviewer._offers
    first, second = served.reviews.mint("node-c"), served.reviews.mint("node-c")
    async with held(served, first) as one:
        for _ in range(MOST):
            patience.note("ipv4:127.0.0.1")
            offers.note("node-a")
        assert patience.is_exhausted("ipv4:127.0.0.1")
        await one.say(FreshToken(second))
        await eventually(lambda: second in served.reviews.asked)
        await goes_on(served, one, 2)
    # Without a token that is known, node-c is whoever calls from there.
    async with open_stream(served.door, [], served.reviews.mint("node-c")) as stream:
        error = await ScriptedNode("node-c", stream).ending()
    assert (error.details() or "").startswith(Reason.TOO_MANY.value)


def asked_of(served: Served, token: str, often: int) -> bool:
    return served.reviews.asked.count(token) == often


async def test_who_offers_too_many_tokens_is_reviewed_no_later(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    token = served.reviews.mint("node-c")
    async with held(served, token) as one:
        served.reviews.revoke(token)
        patience = served.reviewer._offers
        # The review may come from four fifths of the time on; who writes to a stream that has ended is told something else.
        offers = int(0.8 * REVIEW_SECONDS / RETRY_SECONDS) - 1
        for _ in range(offers):
            for _ in range(MOST):
                patience.note("node-c")
            await one.say(FreshToken("garbage"))
            await served.clock.advance(RETRY_SECONDS)
        await served.clock.advance(REVIEW_SECONDS - offers * RETRY_SECONDS)
        check(served, await one.ending(), Reason.INVALID_TOKEN, caplog)
    assert "garbage" not in served.reviews.asked


FRESH: dict[str, tuple[Callable[[Served], str], Reason]] = {
    "of another node": (lambda served: served.reviews.mint("node-b"), Reason.OTHER_NODE),
    "of another account": (lambda served: served.reviews.mint("node-c", user="jane"), Reason.OTHER_ACCOUNT),
    "that is none": (lambda _: "garbage", Reason.INVALID_TOKEN),
}


@pytest.mark.parametrize(("mint", "reason"), FRESH.values(), ids=list(FRESH))
async def test_a_stream_ends_with_a_fresh_token(
    served: Served, mint: Callable[[Served], str], reason: Reason, caplog: pytest.LogCaptureFixture
) -> None:
    async with held(served, served.reviews.mint("node-c")) as one:
        await one.say(FreshToken(mint(served)))
        check(served, await one.ending(), reason, caplog)


async def test_while_the_api_server_is_away_open_streams_stay_and_unknown_callers_wait(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    token = served.reviews.mint("node-c")
    async with held(served, token) as one:
        served.reviews.answering = False
        asked = len(served.reviews.asked)
        await served.clock.advance(REVIEW_SECONDS + 3 * RETRY_SECONDS)
        await eventually(lambda: len(served.reviews.asked) >= asked + 3)
        fresh = served.reviews.mint("node-c")
        await one.say(FreshToken(fresh))
        await eventually(lambda: fresh in served.reviews.asked)
        await goes_on(served, one, 2)
        async with open_stream(served.door, [], served.reviews.mint("node-b")) as stream:
            error = await ScriptedNode("node-b", stream).ending()
        check(served, error, Reason.UNCHECKED, caplog)
        assert "node-c stays connected" in caplog.text
        served.reviews.answering = True
        await served.clock.advance(2 * RETRY_SECONDS)
        await goes_on(served, one, 3)


async def test_a_token_that_is_replayed_elsewhere_gives_its_own_nodes_rule_set_and_the_older_stream_closes(
    served: Served,
) -> None:
    token = served.reviews.mint("node-c")
    async with (
        held(served, token) as one,
        open_stream(served.door, [encode_node(Hello("node-b"))], token) as other,
    ):
        error = await ScriptedNode("node-b", other).ending()
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        await goes_on(served, one, 2)
        async with open_stream(served.door, [encode_node(Hello("node-c"))], token) as again:
            assert (await one.ending()).code() is grpc.StatusCode.ABORTED
            replayed = ScriptedNode("node-c", again)
            served.streams.desire("node-c", desired(3))
            await replayed.apply()
            assert replayed.rule_set == desired(3).rule_set


async def test_an_error_of_ours_ends_a_stream_and_tells_its_caller_nothing(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: str) -> str:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(served.reviewer, "review", fails)
    async with open_stream(served.door, token=served.reviews.mint("node-b")) as stream:
        error = await ScriptedNode("node-b", stream).ending()
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    assert "a secret" in caplog.text
    assert served.streams.nodes == ("node-a",)
