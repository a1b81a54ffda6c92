"""Signed claims: JSON Web Tokens in their compact form, made and read with one key.

Knows signatures (ES256: RFC 7515, RFC 7518 section 3.4). Knows nothing of what is claimed.
"""

import base64
import binascii
import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_NUMBER_BYTES: Final = 32


class Seal:
    """Signs and reads with a key that it makes and nobody else has."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = self._key.public_key()
        described = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key_id = _encoded(hashlib.sha256(described).digest())
        self._header = _encoded(msgspec.json.encode({"alg": "ES256", "kid": key_id}))

    def sign(self, claims: bytes) -> str:
        """A token with these claims, which are JSON."""
        signed = f"{self._header}.{_encoded(claims)}"
        first, second = decode_dss_signature(self._key.sign(signed.encode(), _ALGORITHM))
        signature = first.to_bytes(_NUMBER_BYTES) + second.to_bytes(_NUMBER_BYTES)
        return f"{signed}.{_encoded(signature)}"

    def read(self, token: str) -> bytes | None:
        """The claims of a token that was signed here; None for any other text."""
        signed, _, tail = token.rpartition(".")
        header, _, claims = signed.partition(".")
        if header != self._header:
            return None
        try:
            signature, content = _decoded(tail), _decoded(claims)
        except (binascii.Error, ValueError):
            return None
        if len(signature) != 2 * _NUMBER_BYTES:
            return None
        numbers = (int.from_bytes(signature[:_NUMBER_BYTES]), int.from_bytes(signature[_NUMBER_BYTES:]))
        try:
            self._public.verify(encode_dss_signature(*numbers), signed.encode(), _ALGORITHM)
        except InvalidSignature:
            return None
        return content


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
