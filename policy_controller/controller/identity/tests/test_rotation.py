"""Which authorities there are, who signs, and what the certificates say: functions of content and time."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from policy_controller.controller.identity import rotation
from policy_controller.controller.identity.authority import (
    AUTHORITY_LIFE,
    LEAF_LIFE,
    LEAF_RENEWED,
    SKEW,
    Authority,
    InvalidAuthority,
)
from policy_controller.controller.identity.rotation import AHEAD, ROTATED, SETTLED, Authorities, desired

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NAMES = ("policy-controller.policy-controller.svc", "policy-controller")


def verified(chain: bytes, bundle: bytes, name: str, at: datetime) -> None:
    """Raises VerificationError when a client that trusts the bundle would refuse this server."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    verifier.verify(x509.load_pem_x509_certificate(chain), [])


def test_the_first_authority_signs_at_once_as_nobody_trusts_another() -> None:
    made = desired(None, NOW)
    assert made.previous is None
    assert made.signer(NOW, b"") == made.newest
    assert desired(made, NOW) == made


def test_a_certificate_holds_for_its_names_for_a_day_and_for_a_node_whose_clock_is_behind() -> None:
    made = desired(None, NOW)
    leaf = made.newest.sign(NAMES, NOW)
    for name in NAMES:
        for at in (NOW - SKEW + SECOND, NOW, NOW + LEAF_LIFE - SECOND):
            verified(leaf.shown.chain, made.bundle, name, at)
    for name, at in (("kubernetes.default.svc", NOW), (NAMES[0], NOW + LEAF_LIFE + SECOND)):
        with pytest.raises(VerificationError):
            verified(leaf.shown.chain, made.bundle, name, at)
    with pytest.raises(VerificationError):
        verified(leaf.shown.chain, desired(None, NOW).bundle, NAMES[0], NOW)
    key = serialization.load_pem_private_key(leaf.shown.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_a_leaf_is_renewed_long_before_its_end_and_when_another_authority_signs() -> None:
    made, other = desired(None, NOW), desired(None, NOW)
    leaf = made.newest.sign(NAMES, NOW)
    assert leaf.holds(made.newest, NOW + LEAF_RENEWED - SECOND)
    assert not leaf.holds(made.newest, NOW + LEAF_RENEWED)
    assert not leaf.holds(other.newest, NOW)
    assert not leaf.holds(made.newest, NOW - SECOND)


def test_a_leaf_does_not_outlive_its_authority() -> None:
    made = desired(None, NOW)
    end = made.newest.ends
    assert made.newest.sign(NAMES, end - timedelta(hours=2)).ends == end


def test_a_rotation_publishes_first_signs_an_hour_later_and_drops_what_has_ended() -> None:
    first = desired(None, NOW)
    due = NOW + ROTATED
    assert desired(first, due - SECOND) == first
    second = desired(first, due)
    assert second.previous == first.newest
    assert second.bundle == second.newest.certificate + first.newest.certificate
    assert second.signer(due + SETTLED - SECOND, second.bundle) == first.newest
    assert second.signer(due + SETTLED, second.bundle) == second.newest
    end = first.newest.ends
    assert desired(second, end - SECOND) == second
    third = desired(second, end)
    assert third == Authorities(second.newest)
    assert third.bundle == second.newest.certificate


def test_an_authority_that_nobody_could_read_does_not_sign_while_the_older_holds() -> None:
    first = desired(None, NOW)
    second = desired(first, NOW + ROTATED)
    assert second.signer(NOW + ROTATED + 2 * SETTLED, first.bundle) == first.newest
    assert second.signer(first.newest.ends, first.bundle) == second.newest


def test_every_certificate_holds_for_every_enforcer_throughout_three_years() -> None:
    held, published, now = desired(None, NOW), b"", NOW
    rotations = 0
    while now < NOW + 3 * AUTHORITY_LIFE:
        before, held = held, desired(held, now)
        rotations += held.newest != before.newest
        # What enforcers can have read: at worst, what was published the turn before.
        read, published = published or held.bundle, held.bundle
        leaf = held.signer(now, published).sign(NAMES, now)
        verified(leaf.shown.chain, read, NAMES[0], now)
        verified(leaf.shown.chain, published, NAMES[0], min(now + LEAF_RENEWED, leaf.ends) - SECOND)
        now += timedelta(hours=47)
    assert rotations == 4


@pytest.mark.parametrize("late", [AUTHORITY_LIFE, AUTHORITY_LIFE + timedelta(days=400)])
def test_an_operator_that_comes_back_after_years_begins_anew(late: timedelta) -> None:
    first = desired(None, NOW)
    again = desired(first, NOW + late)
    assert again.previous is None
    assert again.newest != first.newest


YEARS = timedelta(days=730)


def test_an_authority_of_a_clock_that_was_ahead_is_given_up_once_the_clock_is_right() -> None:
    ahead = desired(None, NOW + YEARS)
    right = desired(ahead, NOW)
    assert right.previous is None
    verified(right.signer(NOW, b"").sign(NAMES, NOW).shown.chain, right.bundle, NAMES[0], NOW)
    assert desired(right, NOW) == right


def test_the_authority_before_it_is_taken_back() -> None:
    first = desired(None, NOW)
    ahead = desired(first, NOW + ROTATED + AHEAD)
    assert desired(ahead, NOW + SETTLED) == first


def test_an_operator_whose_clock_is_behind_keeps_what_another_has_made() -> None:
    made = desired(None, NOW)
    assert desired(made, NOW - AHEAD) == made


def test_the_secret_says_the_same_when_it_is_read_again() -> None:
    second = desired(desired(None, NOW), NOW + ROTATED)
    for held in (second, Authorities(second.newest)):
        assert rotation.read(rotation.written(held)) == held


def test_a_previous_authority_that_cannot_be_read_is_left_out() -> None:
    second = desired(desired(None, NOW), NOW + ROTATED)
    data = {**rotation.written(second), rotation.PREVIOUS_KEY: "bm8="}
    assert rotation.read(data) == Authorities(second.newest)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


ONE, OTHER = Authority.new(NOW), Authority.new(NOW)
GOOD = rotation.written(Authorities(ONE))
LEAF = ONE.sign(NAMES, NOW)
RSA = b"-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----\n"
BROKEN: dict[str, tuple[object, str]] = {
    "nothing": (None, "empty"),
    "a list": ([], "empty"),
    "no key": ({rotation.CERTIFICATE: GOOD[rotation.CERTIFICATE]}, "ca.key is not there"),
    "no certificate": ({rotation.KEY: GOOD[rotation.KEY]}, "ca.crt is not there"),
    "a number": ({**GOOD, rotation.KEY: 7}, "ca.key is not there"),
    "no base64": ({**GOOD, rotation.KEY: "%"}, "not base64"),
    "another authority's key": ({**GOOD, rotation.KEY: text(OTHER.key)}, "not that of the certificate"),
    "no PEM": ({**GOOD, rotation.CERTIFICATE: text(b"x")}, "certificate cannot be read"),
    "a broken key": ({**GOOD, rotation.KEY: text(RSA)}, "key cannot be read"),
    "a server's certificate": (
        {rotation.KEY: text(LEAF.shown.key), rotation.CERTIFICATE: text(LEAF.shown.chain)},
        "may not sign",
    ),
}


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=list(BROKEN))
def test_a_secret_that_holds_no_authority_is_told_without_its_content(data: object, words: str) -> None:
    with pytest.raises(InvalidAuthority, match=words) as found:
        rotation.read(data)
    assert "PRIVATE" not in str(found.value)


def test_keys_are_in_no_text() -> None:
    for value in (ONE, Authorities(ONE), LEAF):
        assert "PRIVATE KEY" not in repr(value)
