"""What the API server's word makes of a token, and how long the word holds."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from compilers.model.cluster import Pod
from policy_controller.controller.bounds import Bound
from policy_controller.controller.identity.claims import claims_of, expiry, token_in
from policy_controller.controller.identity.patience import MOST, WHILE_SECONDS
from policy_controller.controller.identity.refusals import CODES, Reason, Unwelcome
from policy_controller.controller.identity.reviewer import (
    EARLY_SECONDS,
    FRESH_SECONDS,
    MOST_AT_ONCE,
    Enforcers,
    Outcome,
    Reviewer,
)
from policy_controller.logs.restraint import BURST
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import ENFORCER, NAMESPACE, FakeReviews
from policy_controller.wire.channel import AUDIENCE

PEER = "ipv4:192.0.2.1"
NOW = 1_800_000_000.0


@dataclass
class Asked:
    clock: FakeClock = field(default_factory=FakeClock)
    pods: dict[str, Pod] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reviews = FakeReviews(lambda: NOW + self.clock.now())
        self.reviewer = Reviewer(
            self.reviews, self, Enforcers(NAMESPACE, "policy-enforcer"), self.clock, self.today
        )

    def today(self) -> datetime:
        return datetime.fromtimestamp(NOW + self.clock.now(), UTC)

    def pod(self, namespace: str, name: str) -> Pod | None:
        return self.pods.get(name) if namespace == NAMESPACE else None

    async def refusal(self, token: str) -> Reason:
        with pytest.raises(Unwelcome) as found:
            await self.reviewer.identify(token, PEER)
        assert token not in str(found.value)
        return found.value.reason


async def test_the_node_is_the_tokens_and_it_is_asked_for_once() -> None:
    asked = Asked()
    token = asked.reviews.mint("node-a")
    for _ in range(3):
        assert await asked.reviewer.identify(token, PEER) == "node-a"
    assert asked.reviews.asked == [token]
    assert asked.reviewer.outcomes == {Outcome.ACCEPTED: 1}


BOUND = {"pod-name": "enforcer-x", "pod-uid": "uid-1"}
PODS: dict[str, tuple[Pod | None, str | Reason]] = {
    "on its node": (Pod(NAMESPACE, "enforcer-x", "uid-1", {}, "node-b"), "node-b"),
    "not known": (None, Reason.UNKNOWN_POD),
    "another of its name": (Pod(NAMESPACE, "enforcer-x", "uid-2", {}, "node-b"), Reason.UNKNOWN_POD),
    "not scheduled": (Pod(NAMESPACE, "enforcer-x", "uid-1", {}, None), Reason.UNKNOWN_POD),
}


@pytest.mark.parametrize(("pod", "outcome"), PODS.values(), ids=list(PODS))
async def test_on_older_clusters_the_node_is_that_of_the_bound_pod(
    pod: Pod | None, outcome: str | Reason
) -> None:
    asked = Asked()
    if pod is not None:
        asked.pods["enforcer-x"] = pod
    token = asked.reviews.mint_extra(BOUND)
    if isinstance(outcome, Reason):
        assert await asked.refusal(token) is outcome
    else:
        assert await asked.reviewer.identify(token, PEER) == outcome


OTHERS: dict[str, tuple[Callable[[FakeReviews], str], Reason]] = {
    "garbage": (lambda _: "garbage", Reason.INVALID_TOKEN),
    "expired": (lambda reviews: reviews.mint("node-a", seconds=-1), Reason.EXPIRED_TOKEN),
    "for the API server": (lambda reviews: reviews.mint("node-a", audience="api"), Reason.OTHER_AUDIENCE),
    "of the operator": (
        lambda reviews: reviews.mint("node-a", user=f"system:serviceaccount:{NAMESPACE}:policy-controller"),
        Reason.OTHER_ACCOUNT,
    ),
    "of its namesake elsewhere": (
        lambda reviews: reviews.mint("node-a", user="system:serviceaccount:default:policy-enforcer"),
        Reason.OTHER_ACCOUNT,
    ),
    "of a person": (lambda reviews: reviews.mint("node-a", user="jane"), Reason.OTHER_ACCOUNT),
    "bound to nothing": (lambda reviews: reviews.mint_extra({}), Reason.NO_NODE),
    "bound to a pod without a uid": (
        lambda reviews: reviews.mint_extra({"pod-name": "enforcer-x"}),
        Reason.NO_NODE,
    ),
}


@pytest.mark.parametrize(("mint", "reason"), OTHERS.values(), ids=list(OTHERS))
async def test_any_other_token_is_refused_with_its_reason(
    mint: Callable[[FakeReviews], str], reason: Reason
) -> None:
    asked = Asked()
    assert await asked.refusal(mint(asked.reviews)) is reason


async def test_a_word_is_for_the_whole_token_and_no_other() -> None:
    asked = Asked()
    token = asked.reviews.mint("node-a")
    await asked.reviewer.identify(token, PEER)
    head, claims, signature = token.split(".")
    for forged in (
        f"{head}.{claims}.forged",
        f"{head}.{claims}.",
        f"forged.{claims}.{signature}",
        token[:-1],
    ):
        assert await asked.refusal(forged) is Reason.INVALID_TOKEN


async def test_a_word_is_asked_for_again_and_a_no_ends_it() -> None:
    asked = Asked()
    token = asked.reviews.mint("node-a", seconds=3_600)
    await asked.reviewer.identify(token, PEER)
    await asked.clock.advance(FRESH_SECONDS - 1)
    await asked.reviewer.identify(token, PEER)
    assert len(asked.reviews.asked) == 1
    asked.reviews.revoke(token)
    await asked.clock.advance(1)
    assert await asked.refusal(token) is Reason.INVALID_TOKEN
    asked.reviews.answering = False
    assert await asked.refusal(token) is Reason.UNCHECKED


async def test_while_nobody_answers_the_last_word_holds_until_shortly_before_the_token_expires() -> None:
    asked = Asked()
    token, other = asked.reviews.mint("node-a", seconds=3_600), asked.reviews.mint("node-b")
    await asked.reviewer.identify(token, PEER)
    asked.reviews.answering = False
    await asked.clock.advance(3_600 - EARLY_SECONDS - 1)
    assert await asked.reviewer.identify(token, PEER) == "node-a"
    assert await asked.refusal(other) is Reason.UNCHECKED
    await asked.clock.advance(1)
    assert await asked.refusal(token) is Reason.UNCHECKED


async def test_who_comes_again_and_again_while_nobody_answers_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Asked()
    asked.reviews.answering = False
    for number in range(BURST + 5):
        assert await asked.refusal(f"invented-{number}") is Reason.UNCHECKED
    assert asked.reviewer.outcomes == {Outcome.FAILED: BURST + 5}
    assert len(caplog.records) == BURST


async def test_one_address_has_few_tokens_checked_at_a_time_and_keeps_nobody_out() -> None:
    asked, go_on = Asked(), asyncio.Event()
    answer = asked.reviews.review_token

    async def slowly(token: str, audience: str) -> object:
        await go_on.wait()
        return await answer(token, audience)

    asked.reviews.review_token = slowly  # type: ignore[method-assign] # the same, later
    tokens = [asked.reviews.mint(f"node-{number}") for number in range(MOST_AT_ONCE + 1)]
    waiting = [asyncio.create_task(asked.reviewer.identify(token, PEER)) for token in tokens[1:]]
    await asyncio.sleep(0)
    assert await asked.refusal(tokens[0]) is Reason.TOO_MANY
    other = asyncio.create_task(asked.reviewer.identify(tokens[0], "ipv4:192.0.2.2"))
    go_on.set()
    assert await other == "node-0"
    await asyncio.gather(*waiting)
    assert await asked.reviewer.identify(tokens[0], PEER) == "node-0"
    assert not asked.reviewer._at_once


async def test_an_address_whose_tokens_are_refused_has_few_more_asked_about_and_keeps_nobody_out() -> None:
    asked = Asked()
    known = asked.reviews.mint("node-a")
    await asked.reviewer.identify(known, PEER)
    for number in range(MOST):
        assert await asked.refusal(f"invented-{number}") is Reason.INVALID_TOKEN
    assert await asked.refusal("one-more") is Reason.TOO_MANY
    assert "one-more" not in asked.reviews.asked
    assert await asked.reviewer.identify(known, PEER) == "node-a"
    other = asked.reviews.mint("node-b")
    assert await asked.reviewer.identify(other, "ipv4:192.0.2.2") == "node-b"
    await asked.clock.advance(WHILE_SECONDS)
    assert await asked.refusal("one-more") is Reason.INVALID_TOKEN
    assert asked.reviewer._patience._counts == {PEER: 1}


async def test_nodes_that_share_an_address_are_each_checked_once_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, go_on = Asked(), asyncio.Event()
    tokens = [asked.reviews.mint(f"node-{number}") for number in range(2 * MOST_AT_ONCE)]
    for token in tokens:
        await asked.reviewer.identify(token, PEER)
    # Their words are no longer fresh, and strangers behind the same address have used up its patience.
    await asked.clock.advance(FRESH_SECONDS)
    for number in range(MOST):
        assert await asked.refusal(f"invented-{number}") is Reason.INVALID_TOKEN
    answer = asked.reviews.review_token

    async def slowly(token: str, audience: str) -> object:
        await go_on.wait()
        return await answer(token, audience)

    monkeypatch.setattr(asked.reviews, "review_token", slowly)
    again = [asyncio.create_task(asked.reviewer.identify(token, PEER)) for token in tokens]
    await asyncio.sleep(0)
    # Who is not known is counted by address, whatever node it may be of; and one node is bounded as well.
    assert await asked.refusal(asked.reviews.mint("node-0")) is Reason.TOO_MANY
    more = [asyncio.create_task(asked.reviewer.identify(tokens[0], PEER)) for _ in range(MOST_AT_ONCE - 1)]
    await asyncio.sleep(0)
    with pytest.raises(Unwelcome, match=f"{MOST_AT_ONCE} tokens of node node-0 are being checked"):
        await asked.reviewer.identify(tokens[0], PEER)
    assert asked.reviewer.hits.of(Bound.TOKENS_OF_NODE) == 1
    go_on.set()
    assert await asyncio.gather(*again) == [f"node-{number}" for number in range(len(tokens))]
    assert await asyncio.gather(*more) == ["node-0"] * len(more)
    assert not asked.reviewer._at_once


async def test_a_token_that_was_good_once_is_a_strangers_when_it_is_refused() -> None:
    asked = Asked()
    token = asked.reviews.mint("node-a", seconds=3_600)
    await asked.reviewer.identify(token, PEER)
    await asked.clock.advance(FRESH_SECONDS)
    asked.reviews.revoke(token)
    for _ in range(MOST):
        assert await asked.refusal(token) is Reason.INVALID_TOKEN
    assert await asked.refusal(token) is Reason.TOO_MANY
    assert asked.reviewer.hits.of(Bound.TOKENS_OF_ADDRESS) == 1


def test_every_reason_has_a_status_and_only_passing_ones_are_unavailable() -> None:
    assert set(CODES) == set(Reason)
    passing = {reason for reason, code in CODES.items() if code is grpc.StatusCode.UNAVAILABLE}
    assert passing == {Reason.UNKNOWN_POD, Reason.UNCHECKED, Reason.TOO_MANY}


METADATA: dict[str, tuple[list[tuple[str, str | bytes]], Reason]] = {
    "nothing": ([], Reason.NO_TOKEN),
    "something else": ([("user-agent", "grpc")], Reason.NO_TOKEN),
    "a password": ([("authorization", "Basic eDp5")], Reason.MALFORMED_TOKEN),
    "an empty token": ([("authorization", "Bearer ")], Reason.MALFORMED_TOKEN),
    "no token's letters": ([("authorization", "Bearer a b")], Reason.MALFORMED_TOKEN),
    "bytes": ([("authorization", b"Bearer abc")], Reason.MALFORMED_TOKEN),
    "two": ([("authorization", "Bearer abc")] * 2, Reason.MALFORMED_TOKEN),
    "a very long one": ([("authorization", "Bearer " + "a" * 20_000)], Reason.MALFORMED_TOKEN),
}


@pytest.mark.parametrize(("metadata", "reason"), METADATA.values(), ids=list(METADATA))
def test_what_is_no_bearer_token_is_never_asked_about(
    metadata: list[tuple[str, str | bytes]], reason: Reason
) -> None:
    with pytest.raises(Unwelcome) as found:
        token_in(metadata)
    assert found.value.reason is reason


USER: dict[str, Any] = {
    "username": ENFORCER,
    "extra": {"authentication.kubernetes.io/node-name": ["node-a"]},
}
GOOD: dict[str, Any] = {"authenticated": True, "audiences": [AUDIENCE], "user": USER}
REVIEWS: dict[str, tuple[object, Reason]] = {
    "nothing": (None, Reason.INVALID_TOKEN),
    "a list": ([], Reason.INVALID_TOKEN),
    "no status": ({}, Reason.INVALID_TOKEN),
    "a word for true": ({"status": {**GOOD, "authenticated": "true"}}, Reason.INVALID_TOKEN),
    "a server that knows no audiences": ({"status": {**GOOD, "audiences": None}}, Reason.OTHER_AUDIENCE),
    "the audience as a text": ({"status": {**GOOD, "audiences": AUDIENCE}}, Reason.OTHER_AUDIENCE),
    "another audience": ({"status": {**GOOD, "audiences": ["api"]}}, Reason.OTHER_AUDIENCE),
}


@pytest.mark.parametrize(("review", "reason"), REVIEWS.values(), ids=list(REVIEWS))
def test_only_a_whole_yes_is_a_yes(review: object, reason: Reason) -> None:
    assert claims_of({"status": GOOD}, "token", AUDIENCE, NOW).node == "node-a"
    with pytest.raises(Unwelcome) as found:
        claims_of(review, "token", AUDIENCE, NOW)
    assert found.value.reason is reason


def test_several_nodes_are_none() -> None:
    user = {**USER, "extra": {"authentication.kubernetes.io/node-name": ["node-a", "node-b"]}}
    assert claims_of({"status": {**GOOD, "user": user}}, "token", AUDIENCE, NOW).node is None


def test_an_error_of_the_api_server_repeats_no_token_and_obeys_no_terminal() -> None:
    status = {"error": "bad token secret-token\n\x1b[31m"}
    with pytest.raises(Unwelcome) as found:
        claims_of({"status": status}, "secret-token", AUDIENCE, NOW)
    for told in (str(found.value), found.value.detail):
        assert "secret-token" not in told
        assert told.isprintable()
    assert "bad token" in found.value.detail


def jwt(payload: bytes) -> str:
    return f"h.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.s"


EXPIRIES: dict[str, tuple[str, float | None]] = {
    "a number": (jwt(json.dumps({"exp": 7}).encode()), 7.0),
    "a fraction": (jwt(b'{"exp": 7.5}'), 7.5),
    "true": (jwt(b'{"exp": true}'), None),
    "a text": (jwt(b'{"exp": "7"}'), None),
    "endless": (jwt(b'{"exp": 1e999}'), None),
    "of 400 digits": (jwt(b'{"exp": 1' + b"0" * 400 + b"}"), None),
    "none": (jwt(b"{}"), None),
    "a list": (jwt(b"[]"), None),
    "no JSON": (jwt(b"\xff"), None),
    "no base64": ("h.%.s", None),
    "no parts": ("opaque", None),
    "deep": (jwt(b"[" * 5_000), None),
}


@pytest.mark.parametrize(("token", "expires"), EXPIRIES.values(), ids=list(EXPIRIES))
def test_a_token_says_when_it_expires_or_does_not(token: str, expires: float | None) -> None:
    assert expiry(token) == expires
