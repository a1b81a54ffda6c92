"""A certificate authority as the Secret holds it, and the operator's own certificate that it signs.

Knows keys, certificates and how long they hold. Knows nothing of the Secret or of which authority there should be.

Certificates begin an hour before they are made: a node's clock may be behind.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policy_controller.wire.channel import Certificate

NAME: Final = "policy-controller"
AUTHORITY_LIFE: Final = timedelta(days=365)
LEAF_LIFE: Final = timedelta(hours=24)
LEAF_RENEWED: Final = timedelta(hours=16)
"""The age at which another certificate is signed."""
SKEW: Final = timedelta(hours=1)
"""How far behind a node's clock may be."""


class InvalidAuthority(ValueError):  # noqa: N818 - as InvalidField
    """A key and a certificate that are no authority; the text says why, and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A private key and the certificate of it that may sign others, both PEM."""

    key: bytes = field(repr=False)
    certificate: bytes
    made: datetime
    ends: datetime

    @classmethod
    def new(cls, now: datetime) -> "Authority":
        """One made now, with a key that nobody else has."""
        key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
        # Two authorities are trusted at once: where their names differ, nobody tries the wrong one's key.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{NAME} {serial >> 96:016x}")])
        certificate = (
            _begun(subject, key.public_key(), now, now + AUTHORITY_LIFE)
            .issuer_name(subject)
            .serial_number(serial)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls.read(_key_pem(key), certificate.public_bytes(serialization.Encoding.PEM))

    @classmethod
    def read(cls, key: bytes, certificate: bytes) -> "Authority":
        """What these PEM texts hold; raises InvalidAuthority."""
        signing = _signing_key(key)
        try:
            read = x509.load_pem_x509_certificate(certificate)
        except ValueError as fault:
            raise InvalidAuthority("the certificate cannot be read") from fault
        if read.public_key() != signing.public_key():
            raise InvalidAuthority("the key is not that of the certificate")
        try:
            constraints = read.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (x509.ExtensionNotFound, ValueError) as fault:
            raise InvalidAuthority("the certificate may not sign others") from fault
        if not constraints.ca:
            raise InvalidAuthority("the certificate may not sign others")
        # One certificate, spelled in one way, whatever else was in the text.
        written = read.public_bytes(serialization.Encoding.PEM)
        return cls(key, written, read.not_valid_before_utc + SKEW, read.not_valid_after_utc)

    def sign(self, names: tuple[str, ...], now: datetime) -> "Leaf":
        """A certificate of a server with these DNS names, with a new key."""
        key, issuer = (
            ec.generate_private_key(ec.SECP256R1()),
            x509.load_pem_x509_certificate(self.certificate),
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        ends = min(now + LEAF_LIFE, self.ends)
        certificate = (
            _begun(subject, key.public_key(), now, ends)
            .issuer_name(issuer.subject)
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .sign(_signing_key(self.key), hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Leaf(Certificate(_key_pem(key), pem), self.certificate, now, ends)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The operator's own certificate; it is never stored."""

    shown: Certificate
    authority: bytes
    """The certificate of who signed it."""
    made: datetime
    ends: datetime

    def holds(self, authority: Authority, now: datetime) -> bool:
        """Whether it need not be renewed: this authority signed it, and not long ago."""
        # A leaf from the future is one of a clock that was put back since.
        return authority.certificate == self.authority and (
            self.made <= now < min(self.made + LEAF_RENEWED, self.ends)
        )


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .not_valid_before(now - SKEW)
        .not_valid_after(ends)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signing_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as fault:
        raise InvalidAuthority("the key cannot be read") from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidAuthority("the key is not one of an elliptic curve")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
