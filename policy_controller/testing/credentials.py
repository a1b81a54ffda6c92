"""Who is who in tests: an authority that makes certificates, and tokens with an API server's word on them.

Knows TLS certificates and the answers of TokenReview. Knows nothing of how the operator makes and judges its own.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policy_controller.wire.channel import AUDIENCE, Certificate, Trust

NAMESPACE: Final = "policy-controller"
SERVER_NAME: Final = f"policy-controller.{NAMESPACE}.svc"
ENFORCER: Final = f"system:serviceaccount:{NAMESPACE}:policy-enforcer"
DAY: Final = timedelta(days=1)
EXTRA: Final = "authentication.kubernetes.io"


class Authority:
    """A certificate authority of its own: what another one signs, who trusts this one refuses."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Of two authorities of one name, a client would try the one that it knows and find a wrong signature.
        name = f"authority {x509.random_serial_number() >> 96:x} of the tests"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            _begun(self._name, self._key.public_key(), DAY)
            .issuer_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def trust(self, server_name: str = SERVER_NAME) -> Trust:
        """What a client believes that trusts this authority alone."""
        return Trust(self.pem, server_name)

    def certificate(self, name: str = SERVER_NAME, valid_for: timedelta = DAY) -> Certificate:
        """A new key and certificate of a server or client of this name; a negative time makes one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "party of the tests")])
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        signed = (
            _begun(subject, key.public_key(), valid_for)
            .issuer_name(self._name)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(
            key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            chain=signed.public_bytes(serialization.Encoding.PEM),
        )


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + valid_for)
    )


@dataclass(frozen=True, slots=True)
class _Minted:
    user: str
    audience: str
    expires: float
    extra: Mapping[str, str]


class FakeReviews:
    """Mints tokens, and says of each what an API server would; other texts are no tokens.

    The tokens have the form of service account tokens, with claims that anybody can read, and a signature of nobody.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._minted: dict[str, _Minted] = {}
        self._serial = count(1)
        self.answering = True
        """False: reviews fail, as with an API server that cannot be reached."""
        self.asked: list[str] = []
        """The tokens that were asked about, one entry a request."""

    def mint(
        self, node: str, *, user: str = ENFORCER, audience: str = AUDIENCE, seconds: float = 3_600
    ) -> str:
        """A token that says which node it is bound to, as API servers since 1.30 give them."""
        return self.mint_extra({"node-name": node}, user=user, audience=audience, seconds=seconds)

    def mint_extra(
        self,
        extra: Mapping[str, str],
        *,
        user: str = ENFORCER,
        audience: str = AUDIENCE,
        seconds: float = 3_600,
    ) -> str:
        """A token with these of the claims `authentication.kubernetes.io/...`."""
        expires = self._wall() + seconds
        claims = {
            "aud": [audience],
            "exp": int(expires),
            "iat": int(expires - seconds),
            "sub": user,
            "jti": str(next(self._serial)),
        }
        token = ".".join((_part({"alg": "none"}), _part(claims), "signature"))
        self._minted[token] = _Minted(user, audience, expires, extra)
        return token

    def revoke(self, token: str) -> None:
        """The pod that the token is bound to is gone."""
        del self._minted[token]

    async def review_token(self, token: str, audience: str) -> object:
        """The TokenReview that an API server answers with; raises when it does not answer."""
        self.asked.append(token)
        if not self.answering:
            raise ConnectionResetError("connection reset by peer")
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "status": self._status(token, audience),
        }

    def _status(self, token: str, audience: str) -> dict[str, object]:
        minted = self._minted.get(token)
        if minted is None:
            return {"user": {}, "error": "[invalid bearer token, service account token has been invalidated]"}
        if minted.expires <= self._wall():
            return {"user": {}, "error": "[invalid bearer token, service account token has expired]"}
        if audience != minted.audience:
            error = f'[invalid bearer token, token audiences ["{minted.audience}"] is invalid]'
            return {"user": {}, "error": error}
        user: dict[str, object] = {"username": minted.user}
        user["extra"] = {f"{EXTRA}/{name}": [value] for name, value in minted.extra.items()}
        return {"authenticated": True, "user": user, "audiences": [audience]}


def _part(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
