"""What a TokenReview says of a token, and what a token says of itself.

Knows the form of both. Knows nothing of who is asked, or of when. What a token says of itself is believed only as far as
the API server has found it genuine, or to find words for a refusal.
"""

import base64
import binascii
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from compilers.model.faults import InvalidField
from policy_controller.controller.identity.refusals import Reason, Unwelcome
from policy_controller.wire import legal
from policy_controller.wire.channel import AUTHORIZATION, BEARER

EXTRA: Final = "authentication.kubernetes.io"


@dataclass(frozen=True, slots=True)
class BoundPod:
    """The pod that a token was made for; it is of the namespace of its service account."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose a genuine token is: a user name, and the node or the pod that it is bound to."""

    user: str
    node: str | None
    pod: BoundPod | None


def token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The token in a call's metadata; raises Unwelcome."""
    given = [value for name, value in metadata if name == AUTHORIZATION]
    if not given:
        raise Unwelcome(Reason.NO_TOKEN, "the call carries no token")
    value = given[0]
    if len(given) > 1 or not isinstance(value, str) or not value.startswith(BEARER):
        raise Unwelcome(Reason.MALFORMED_TOKEN, "the call's authorization is not one bearer token")
    try:
        return legal.bearer(value.removeprefix(BEARER))
    except InvalidField as fault:
        raise Unwelcome(Reason.MALFORMED_TOKEN, f"the call's token {fault.reason}") from None


def claims_of(review: object, token: str, audience: str, now: float) -> Claims:
    """Whose the token is, by the answered TokenReview; raises Unwelcome. `now`: seconds since 1970."""
    status = _mapping(_mapping(review).get("status"))
    if status.get("authenticated") is not True:
        raise _refused(status, token, audience, now)
    # API: "A client of the TokenReview API that sets the spec.audiences field should validate that a compatible
    # audience identifier is returned in the status.audiences field to ensure that the TokenReview server is audience
    # aware."
    audiences = status.get("audiences")
    if not isinstance(audiences, list) or audience not in audiences:
        raise Unwelcome(
            Reason.OTHER_AUDIENCE, "the API server does not say that the token is for this audience"
        )
    user = _mapping(status.get("user"))
    extra = _mapping(user.get("extra"))
    pod, uid = _only(extra, "pod-name"), _only(extra, "pod-uid")
    return Claims(
        user=_text(user.get("username")),
        node=_only(extra, "node-name"),
        pod=None if pod is None or uid is None else BoundPod(pod, uid),
    )


def expiry(token: str) -> float | None:
    """When the token says that it expires, in seconds since 1970; None when that cannot be read (RFC 7519)."""
    return _seconds(_own_claims(token).get("exp"))


def lifetime(token: str) -> float | None:
    """How long the token says that it is good in all, in seconds; None when that cannot be read (RFC 7519)."""
    claims = _own_claims(token)
    expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    return None if expires is None or issued is None else max(0.0, expires - issued)


def _seconds(claim: object) -> float | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        seconds = float(claim)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _refused(status: Mapping[str, object], token: str, audience: str, now: float) -> Unwelcome:
    """What is wrong with a token that the API server refuses, as far as it can be told."""
    error = _text(status.get("error")).replace(token, "TOKEN")
    words = "the API server refuses the token"
    expires, stated = expiry(token), _own_claims(token).get("aud")
    if "expired" in error or (expires is not None and expires <= now):
        return Unwelcome(Reason.EXPIRED_TOKEN, words, error)
    audiences = [stated] if isinstance(stated, str) else stated
    if "audience" in error or (isinstance(audiences, list) and audience not in audiences):
        return Unwelcome(Reason.OTHER_AUDIENCE, words, error)
    return Unwelcome(Reason.INVALID_TOKEN, words, error)


def _own_claims(token: str) -> Mapping[str, object]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return _mapping(msgspec.json.decode(text))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return {}


def _only(extra: Mapping[str, object], name: str) -> str | None:
    values = extra.get(f"{EXTRA}/{name}")
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) and values[0]:
        return values[0]
    return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
