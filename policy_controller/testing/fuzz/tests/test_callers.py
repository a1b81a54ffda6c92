"""What an API server says: of tokens, and in watches; and tokens, whatever they say of themselves."""

import json
from base64 import urlsafe_b64encode
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.controller.answers import Losses, event, listing
from policy_controller.controller.decoding import decoded, encoded, shallow
from policy_controller.controller.identity.claims import Claims, claims_of, expiry, token_in
from policy_controller.controller.identity.refusals import Unwelcome
from policy_controller.controller.kinds import Kind
from policy_controller.controller.seen import identity_of
from policy_controller.controller.store import Store
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import JSON, changed_bytes, changed_tree
from policy_controller.testing.fuzz.tests.test_policies import TREES, VALUES
from policy_controller.testing.fuzz.tests.told import ACCEPTED, COUNTED, Record, check_told
from policy_controller.testing.fuzz.tries import tries
from policy_controller.wire.channel import AUDIENCE, AUTHORIZATION, BEARER

pytestmark = pytest.mark.timeout(900)

EXTRA: Final = {
    "authentication.kubernetes.io/node-name": ["node-a"],
    "authentication.kubernetes.io/pod-name": ["enforcer-1"],
    "authentication.kubernetes.io/pod-uid": ["u-1"],
}
REVIEWS: Final = [
    {
        "kind": "TokenReview",
        "status": {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "u", "extra": EXTRA}},
    },
    {"kind": "TokenReview", "status": {"authenticated": False, "error": "[invalid bearer token, expired]"}},
]
CLAIMS: Final = [
    b'{"exp": 1700000000, "aud": ["policy-controller"]}',
    b'{"exp": 1e400}',
    b'{"aud": "x", "exp": null}',
]
EVENTS: Final = [
    json.dumps(
        {"type": kind, "object": tree | {"metadata": tree["metadata"] | {"resourceVersion": "7"}}}
    ).encode()
    for kind in ("ADDED", "DELETED", "BOOKMARK")
    for tree in TREES[:4]
]
LISTS: Final = [{"kind": "NetworkPolicyList", "metadata": {"resourceVersion": "7"}, "items": TREES[:3]}]


def token_of(claims: bytes) -> str:
    return f"h.{urlsafe_b64encode(claims).decode().rstrip('=')}.s"


TOKENS: Final = changed_bytes(CLAIMS, (b"9" * 400, b"[" * 2_000, b"NaN", b"\xff")).map(token_of) | st.text(
    max_size=60
)


def test_any_review_of_any_token_is_a_caller_or_a_refusal_that_does_not_tell_the_token(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 200, 5_000)
    @given(changed_tree(REVIEWS, (*VALUES, AUDIENCE, [AUDIENCE], True)) | JSON, TOKENS)
    def check(review: Any, token: str) -> None:  # noqa: ANN401 - any JSON
        tried.append(review)
        until = expiry(token)
        assert until is None or abs(until) < float("inf")
        try:
            claims = claims_of(review, token, AUDIENCE, 1.7e9)
        except Unwelcome as unwelcome:
            check_told(unwelcome)
            return
        accepted.append(review)
        assert isinstance(claims, Claims)
        assert review["status"]["authenticated"] is True
        assert AUDIENCE in review["status"]["audiences"]

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


def test_whatever_a_call_carries_is_one_token_or_a_refusal(extent: Extent, record_property: Record) -> None:
    tried = []
    names = st.sampled_from((AUTHORIZATION, "authorization-bin", "x"))
    values = st.text(max_size=30) | st.binary(max_size=30) | st.text(max_size=30).map(BEARER.__add__)

    @tries(extent, 100, 10_000)
    @given(st.lists(st.tuples(names, values), max_size=3))
    def check(metadata: list[tuple[str, str | bytes]]) -> None:
        tried.append(metadata)
        try:
            token = token_in(metadata)
        except Unwelcome as unwelcome:
            check_told(unwelcome)
            return
        assert [(AUTHORIZATION, BEARER + token)] == [one for one in metadata if one[0] == AUTHORIZATION]

    check()
    record_property(COUNTED, len(tried))


def test_any_event_or_list_is_seen_in_part_and_leaves_a_store_that_tells_its_state(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []
    losses = Losses(lambda: None, lambda: None)

    @tries(extent, 150, 5_000)
    @given(
        changed_bytes(EVENTS, (b'"', b"{", b"[[[[", b"\\ud800", b"1e999", b"null")),
        changed_tree(LISTS, VALUES),
    )
    def check(line: bytes, listed: Any) -> None:  # noqa: ANN401 - any JSON
        tried.append(line)
        store = Store()
        listing(listed, losses)
        try:
            value = decoded(shallow(line))
        except (ValueError, RecursionError):
            return
        seen = event(value, losses)
        if seen is None or seen["type"] == "ERROR":
            return
        accepted.append(line)
        assert decoded(encoded(seen)) == seen or "nan" in repr(seen).lower()
        if seen["type"] != "BOOKMARK":
            assert identity_of(seen["object"]) is not None
            store.put(Kind.POLICY, seen["object"])
        store.cluster()

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted
