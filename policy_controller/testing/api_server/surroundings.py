"""What the server takes from the world besides requests: the time of day and names nobody has used.

Both are Protocols so that a caller may decide them; the real ones are here too.
"""

import datetime
import secrets
import uuid
from typing import Final, Protocol

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and no look-alikes: no words by accident
SUFFIX_LENGTH: Final = 5


class Clock(Protocol):
    """The time of day, for creationTimestamp and deletionTimestamp."""

    def now(self) -> datetime.datetime:
        """An aware time in UTC."""
        ...


class Identities(Protocol):
    """Fresh identities for new objects."""

    def uid(self) -> str:
        """A UID that no object ever had."""
        ...

    def suffix(self) -> str:
        """What is appended to generateName: five characters, legal in a name."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime.datetime:
        """The current time in UTC."""
        return datetime.datetime.now(datetime.UTC)


class RandomIdentities:
    """UUIDs of version 4, suffixes by chance."""

    def uid(self) -> str:
        """A random UUID."""
        return str(uuid.uuid4())

    def suffix(self) -> str:
        """Five random characters of the alphabet Kubernetes uses."""
        return "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))


def timestamp(moment: datetime.datetime) -> str:
    """A metav1.Time: RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
