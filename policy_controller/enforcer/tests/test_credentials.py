"""Files that others write: read as they are now, waited for until they are what they should be."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_controller.enforcer.credentials import LOOK_SECONDS, CredentialFiles, NotThereYet, obtain
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import SERVER_NAME, Authority

SECRET = "secret"
PEM = Authority().pem
OTHER_PEM = Authority().pem

# What is done to the folder, and what is said of it.
MISSING: dict[str, tuple[Callable[[Path], object], str]] = {
    "no CA": (lambda folder: (folder / "ca.crt").unlink(), "the CA: FOLDER/ca.crt is not there"),
    "no folder": (lambda folder: folder.rename(f"{folder}.gone"), "the CA: FOLDER/ca.crt is not there"),
    "an empty CA": (lambda folder: (folder / "ca.crt").write_text("\n"), "the CA: FOLDER/ca.crt is empty"),
    "a CA that is no text": (
        lambda folder: (folder / "ca.crt").write_bytes(b"\xff\xfe"),
        "the CA: FOLDER/ca.crt is not a bundle of certificates in PEM",
    ),
    "a CA that is no PEM": (
        lambda folder: (folder / "ca.crt").write_text(SECRET),
        "the CA: FOLDER/ca.crt is not a bundle of certificates in PEM",
    ),
    "half a CA": (
        lambda folder: (folder / "ca.crt").write_bytes(PEM[: len(PEM) // 2]),
        "the CA: FOLDER/ca.crt is not a bundle of certificates in PEM",
    ),
    "a bundle with a broken part": (
        lambda folder: (folder / "ca.crt").write_bytes(PEM + PEM.replace(b"\nM", b"\nA")),
        "the CA: FOLDER/ca.crt is not a bundle of certificates in PEM",
    ),
    "a CA that is a folder": (
        lambda folder: [act(folder / "ca.crt") for act in (Path.unlink, Path.mkdir)],
        "the CA: FOLDER/ca.crt cannot be read: Is a directory",
    ),
    "no token": (lambda folder: (folder / "token").unlink(), "the token: FOLDER/token is not there"),
    "an empty token": (lambda folder: (folder / "token").write_text(""), "the token: FOLDER/token is empty"),
    "a token of two lines": (
        lambda folder: (folder / "token").write_text(f"{SECRET}\nx-more: {SECRET}"),
        "the token: FOLDER/token does not hold a token",
    ),
    "a token that is no text": (
        lambda folder: (folder / "token").write_bytes(SECRET.encode() + b"\xff"),
        "the token: FOLDER/token does not hold a token",
    ),
}


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    folder = tmp_path / "mounted"
    folder.mkdir()
    _fill(folder)
    return CredentialFiles(folder / "ca.crt", folder / "token", SERVER_NAME)


def _fill(folder: Path, pem: bytes = PEM, token: str = SECRET) -> None:
    (folder / "ca.crt").write_bytes(pem)
    (folder / "token").write_text(f"{token}\n")


def test_a_bundle_of_several_and_a_token_are_read_and_the_token_is_never_shown(
    files: CredentialFiles,
) -> None:
    files.ca.write_bytes(PEM + OTHER_PEM)
    found = files.read()
    assert found.trust.authorities == PEM + OTHER_PEM
    assert found.trust.server_name == SERVER_NAME
    assert found.token == SECRET
    assert SECRET not in f"{found!r} {found}"


@pytest.mark.parametrize(("spoil", "words"), MISSING.values(), ids=MISSING)
async def test_what_is_not_there_yet_is_waited_for_and_named_once(
    files: CredentialFiles, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(files.ca.parent)
    with pytest.raises(NotThereYet) as missing:
        files.read()
    assert str(missing.value) == words.replace("FOLDER", str(files.ca.parent))

    clock, told = FakeClock(), list[str | None]()
    waiting = asyncio.create_task(obtain(files, clock, told.append))
    await clock.advance(5 * LOOK_SECONDS)
    assert told == [str(missing.value)]
    # The swap of a whole folder, as volumes are changed.
    fresh = files.ca.parent.with_name("fresh")
    fresh.mkdir()
    _fill(fresh)
    if files.ca.parent.exists():
        files.ca.parent.rename(files.ca.parent.with_name("old"))
    fresh.rename(files.ca.parent)
    await clock.advance(LOOK_SECONDS)
    assert (await waiting) == files.read()
    assert told == [str(missing.value), None]


async def test_what_is_there_is_not_waited_for(files: CredentialFiles) -> None:
    told = list[str | None]()
    assert await obtain(files, FakeClock(), told.append) == files.read()
    assert told == []


async def test_each_file_that_is_missing_is_told_in_its_turn(files: CredentialFiles) -> None:
    clock, told = FakeClock(), list[str | None]()
    files.ca.unlink()
    files.token.unlink()
    waiting = asyncio.create_task(obtain(files, clock, told.append))
    await clock.advance(LOOK_SECONDS)
    files.ca.write_bytes(PEM)
    await clock.advance(LOOK_SECONDS)
    files.token.write_text(SECRET)
    await clock.advance(LOOK_SECONDS)
    await waiting
    assert told == [f"the CA: {files.ca} is not there", f"the token: {files.token} is not there", None]
