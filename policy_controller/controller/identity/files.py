"""A certificate of the user's own: two files, read again whenever they change.

Knows files and whether a key and a chain belong together. Knows nothing of who signed them, or of the API server.
"""

import asyncio
import logging
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from policy_controller.clock import Clock
from policy_controller.controller.identity.dates import Today
from policy_controller.controller.identity.source import NoCertificateYetError
from policy_controller.wire.channel import Certificate

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
"""Between two looks at the files."""


class InvalidFiles(ValueError):  # noqa: N818 - as InvalidField
    """Files that are no certificate with its key; the text says why, and holds nothing of the key."""


class CertificateFiles:
    """The operator's certificate, as it lies in two PEM files. Belongs to one event loop."""

    def __init__(self, chain: Path, key: Path, clock: Clock, today: Today) -> None:
        self._chain = chain
        self._key = key
        self._clock = clock
        self._today = today
        self._good: Certificate | None = None
        self._ends: datetime | None = None
        self._failure = "Not read yet."
        self._ready = asyncio.Event()

    @property
    def ready(self) -> asyncio.Event:
        """Set once the files have held a certificate that may be shown."""
        return self._ready

    @property
    def ends(self) -> datetime | None:
        """When the certificate in use expires."""
        return self._ends

    def certificate(self) -> Certificate:
        """The one to show now: the last good one."""
        if self._good is None:
            raise NoCertificateYetError
        return self._good

    def trouble(self) -> str:
        """Why the files as they are now are not used."""
        return self._failure

    async def run(self) -> None:
        """Look at the files from time to time until cancelled."""
        while True:
            self._look()
            await self._clock.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        try:
            found = Certificate(self._key.read_bytes(), self._chain.read_bytes())
            if found == self._good:
                self._failure = ""
                return
            ends = check(found, self._today())
        except (OSError, InvalidFiles) as fault:
            self._note(str(fault))
            return
        self._good, self._ends, self._failure = found, ends, ""
        self._ready.set()
        log.info("took the certificate of %s, until %s", self._chain, ends.isoformat(timespec="seconds"))

    def _note(self, failure: str) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        kept = "waiting for one" if self._good is None else "keeping the one before"
        log.warning("no certificate in %s and %s, %s: %s", self._chain, self._key, kept, failure)


def check(found: Certificate, now: datetime) -> datetime:
    """When a certificate that may be shown now ends; raises InvalidFiles."""
    try:
        own = x509.load_pem_x509_certificates(found.chain)[0]
    except ValueError as fault:
        raise InvalidFiles("the certificate cannot be read") from fault
    try:
        key = serialization.load_pem_private_key(found.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise InvalidFiles("the key cannot be read; one with a password is of no use") from fault
    if key.public_key() != own.public_key():
        raise InvalidFiles("the key is not that of the first certificate")
    if now >= own.not_valid_after_utc:
        raise InvalidFiles(f"the certificate has expired at {own.not_valid_after_utc.isoformat()}")
    if now < own.not_valid_before_utc:
        raise InvalidFiles(f"the certificate is not valid before {own.not_valid_before_utc.isoformat()}")
    return own.not_valid_after_utc
