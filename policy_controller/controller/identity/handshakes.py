"""Why TLS handshakes failed, from the lines that gRPC's core writes to standard error.

Knows those lines. Knows nothing of how they are caught. A handshake fails before there is a call, so no servicer hears
of it, and gRPC offers no other way to learn of it. A client that only hangs up, as gRPC's own does when it does not
trust us, leaves no line: it tells of that itself.
"""

import enum
import logging
import re
from collections import Counter
from typing import Final

log = logging.getLogger(__name__)

FAILED: Final = re.compile(r"Handshake failed with error [A-Z_]+: (?P<words>.*)")
CODE: Final = re.compile(r"OPENSSL_internal:(?P<code>[A-Z0-9_]+)")


class Failure(enum.Enum):
    """What was wrong with a handshake; the words are labels of a metric."""

    PLAIN_TEXT = "plain-text"
    """The client does not speak TLS."""
    UNTRUSTED = "untrusted"
    """The client refuses our certificate: it trusts another authority, or its clock is wrong."""
    OTHER = "other"


FAILURES: Final = {
    "WRONG_VERSION_NUMBER": Failure.PLAIN_TEXT,
    "HTTP_REQUEST": Failure.PLAIN_TEXT,
    "HTTPS_PROXY_REQUEST": Failure.PLAIN_TEXT,
    # In TLS 1.3 OpenSSL's alert comes unencrypted, and is too short for what is expected then: seen.
    "BAD_PACKET_LENGTH": Failure.UNTRUSTED,
    "TLSV1_ALERT_UNKNOWN_CA": Failure.UNTRUSTED,
    "TLSV1_ALERT_DECRYPT_ERROR": Failure.UNTRUSTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": Failure.UNTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Failure.UNTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Failure.UNTRUSTED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Failure.UNTRUSTED,
}


def classify(line: str) -> Failure | None:
    """What a line of gRPC's core, without its prefix, says of a handshake; None when it is about something else."""
    # At its beginning: further on it may be what a peer sent.
    failed = FAILED.match(line)
    if failed is None:
        return None
    code = CODE.search(failed["words"])
    return Failure.OTHER if code is None else FAILURES.get(code["code"], Failure.OTHER)


class Handshakes:
    """Counts what `hear` is told."""

    def __init__(self) -> None:
        self.failures: Counter[Failure] = Counter()

    def hear(self, line: str) -> None:
        """A line that was written to standard error. May be called by any one thread."""
        failure = classify(line)
        if failure is None:
            return
        self.failures[failure] += 1
        count = self.failures[failure]
        # Whoever reaches the port can make as many fail as they like: told are the first, the second, the fourth...
        if count & (count - 1) == 0:
            log.warning("a TLS handshake failed: %s (the %d. of this kind)", failure.value, count)
