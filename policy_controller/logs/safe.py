"""Text made safe to write: nothing that a terminal obeys, nothing that ends a line, nothing secret, nothing endless.

Knows characters and forms of secrets. Knows nothing of records.
"""

import re
from typing import Final

CONSIDERED: Final = 65_536
"""Characters of a text that are looked at at all: a library may tell of an object that has a million."""

REDACTED: Final = "[redacted]"
CUT: Final = "[cut]"
# Each alternative begins only where a run of its characters begins, so no text takes longer than its length.
_SECRETS: Final = re.compile(
    r"(?P<kept>\bbearer[ ]{1,4})[-A-Za-z0-9._~+/]{8,}=*"
    r"|(?<![-\w])eyJ[-\w]{8,}\.[-\w.]*"
    r"|(?P<key>-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)


def safe(text: str) -> str:
    """The text as one line of printable ASCII; any other character is shown by its escape."""
    return "".join(
        character
        if " " <= character <= "~"
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def without_secrets(text: str) -> str:
    """The text without bearer tokens, tokens of service accounts (RFC 7519) and private keys in PEM."""
    return _SECRETS.sub(lambda found: f"{found['kept'] or found['key'] or ''}{REDACTED}", text)


def beginning(text: str, longest: int) -> str:
    """That many characters of the text's beginning, without secrets; CUT is behind them when there are more."""
    shown = without_secrets(text[:CONSIDERED])
    return shown if len(shown) <= longest and len(text) <= CONSIDERED else shown[:longest] + CUT


def end(text: str, longest: int) -> str:
    """That many characters of the text's end, without secrets; CUT is before them when there are more."""
    shown = without_secrets(text[-CONSIDERED:])
    return shown if len(shown) <= longest and len(text) <= CONSIDERED else CUT + shown[-longest:]
