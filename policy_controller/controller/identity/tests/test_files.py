"""A certificate of the user's own: taken when it is good, kept when what replaces it is not."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from policy_controller.controller.identity.dates import today
from policy_controller.controller.identity.files import LOOK_SECONDS, CertificateFiles
from policy_controller.controller.identity.source import NoCertificateYetError
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import DAY, Authority
from policy_controller.wire.channel import Certificate

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.certificate(), AUTHORITY.certificate()


@dataclass
class Lying:
    """Two files and who reads them."""

    chain: Path
    key: Path
    clock: FakeClock
    files: CertificateFiles

    async def put(self, certificate: Certificate) -> None:
        """Lay it there, and let it be looked at."""
        self.chain.write_bytes(certificate.chain)
        self.key.write_bytes(certificate.key)
        await self.look()

    async def look(self) -> None:
        await self.clock.advance(LOOK_SECONDS)


@pytest.fixture
async def lying(tmp_path: Path) -> AsyncIterator[Lying]:
    chain, key, clock = tmp_path / "tls.crt", tmp_path / "tls.key", FakeClock()
    files = CertificateFiles(chain, key, clock, today)
    running = asyncio.create_task(files.run())
    await clock.advance(0)
    yield Lying(chain, key, clock, files)
    assert not running.done()
    running.cancel()


async def test_files_that_are_not_there_yet_are_waited_for(
    lying: Lying, caplog: pytest.LogCaptureFixture
) -> None:
    assert not lying.files.ready.is_set()
    with pytest.raises(NoCertificateYetError):
        lying.files.certificate()
    await lying.look()
    (told,) = (*caplog.get_records("setup"), *caplog.records)
    assert "waiting for one" in told.message
    await lying.put(FIRST)
    assert lying.files.ready.is_set()
    assert lying.files.certificate() == FIRST
    assert lying.files.trouble() == ""


async def test_a_certificate_that_is_changed_is_taken(lying: Lying) -> None:
    await lying.put(FIRST)
    before = lying.files.ends
    await lying.put(AUTHORITY.certificate(valid_for=2 * DAY))
    assert lying.files.certificate() != FIRST
    assert before is not None
    assert lying.files.ends is not None
    assert lying.files.ends > before


BAD: dict[str, tuple[Certificate, str]] = {
    "another's key": (Certificate(SECOND.key, FIRST.chain), "key is not that"),
    "no certificate": (Certificate(FIRST.key, b"tls"), "certificate cannot be read"),
    "no key": (Certificate(b"tls", FIRST.chain), "key cannot be read"),
    "empty files": (Certificate(b"", b""), "certificate cannot be read"),
    "expired": (AUTHORITY.certificate(valid_for=timedelta(hours=-1)), "has expired"),
}


@pytest.mark.parametrize(("bad", "words"), BAD.values(), ids=list(BAD))
async def test_bad_files_keep_the_certificate_before_and_are_told_once(
    lying: Lying, bad: Certificate, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    await lying.put(SECOND)
    for _ in range(2):
        await lying.put(bad)
        assert lying.files.certificate() == SECOND
        assert words in lying.files.trouble()
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "keeping the one before" in told[0]
    assert "PRIVATE" not in caplog.text
    await lying.put(SECOND)
    assert lying.files.trouble() == ""


Loss = Callable[[Lying], None]
LOSSES: dict[str, Loss] = {
    "the key is gone": lambda lying: lying.key.unlink(),
    "the certificate is gone": lambda lying: lying.chain.unlink(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
async def test_files_that_go_keep_the_certificate_before(lying: Lying, loss: Loss) -> None:
    await lying.put(FIRST)
    loss(lying)
    await lying.look()
    assert lying.files.certificate() == FIRST
    assert "No such file" in lying.files.trouble()
