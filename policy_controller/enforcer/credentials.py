"""What the enforcer believes the operator by and shows it: a CA bundle and a token, each in a file that others write.

Knows the two files, that they change at any time, and that either may not be there yet. Knows nothing of who writes them
or of streams. A token is never part of a text.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from compilers.model.faults import InvalidField
from policy_controller.clock import Clock
from policy_controller.wire import legal
from policy_controller.wire.channel import HostPort, Trust

LOOK_SECONDS: Final = 1.0
"""How often a file is looked at that is waited for, or may have changed. The kubelet takes longer to bring one."""

Result = TypeVar("Result")


class NotThereYet(Exception):  # noqa: N818 - named for what it says
    """A file is not there or is not what it should be; the text says which and why, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one connection begins with."""

    trust: Trust
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where both are; `server_name` is what the operator's certificate must say.

    Mounted volumes change by the swap of a symbolic link, so each reading opens the path anew.
    """

    ca: Path
    token: Path
    server_name: str

    def read(self) -> Credentials:
        """Both, as they are now. Raises NotThereYet."""
        return Credentials(self.read_trust(), self.read_token())

    def read_trust(self) -> Trust:
        """The authorities, as they are now. Raises NotThereYet."""
        return Trust(_parsed("the CA", self.ca, _certificates), self.server_name)

    def read_token(self) -> str:
        """The token, as it is now. Raises NotThereYet."""
        return _parsed("the token", self.token, _bearer)


@dataclass(frozen=True, slots=True)
class Way:
    """Where the operator is, and what a connection to it needs."""

    operator: HostPort
    files: CredentialFiles

    def __str__(self) -> str:
        return f"{self.files.server_name} at {self.operator}"


async def obtain(files: CredentialFiles, clock: Clock, waiting: Callable[[str | None], None]) -> Credentials:
    """Both, once both are there. `waiting` is told what is waited for when that changes, and None when it was waited for no more."""
    told: str | None = None
    while True:
        try:
            found = files.read()
        except NotThereYet as error:
            if str(error) != told:
                told = str(error)
                waiting(told)
            await clock.sleep(LOOK_SECONDS)
            continue
        if told is not None:
            waiting(None)
        return found


def _parsed(what: str, path: Path, parse: Callable[[bytes], Result]) -> Result:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotThereYet(f"{what}: {path} is not there") from None
    except OSError as error:
        raise NotThereYet(f"{what}: {path} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise NotThereYet(f"{what}: {path} is empty")
    try:
        return parse(content)
    except ValueError as error:
        raise NotThereYet(f"{what}: {path} {error}") from None


def _certificates(content: bytes) -> bytes:
    """The bundle, when OpenSSL can read each certificate of it: gRPC would take none of a bundle with one that is broken."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ValueError("is not a bundle of certificates in PEM") from None
    return content


def _bearer(content: bytes) -> str:
    """The token, when it may be sent as one."""
    try:
        return legal.bearer(content.decode("ascii").strip())
    except (InvalidField, UnicodeDecodeError):
        raise ValueError("does not hold a token") from None
