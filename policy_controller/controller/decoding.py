"""JSON of an API server, whatever it holds: read as far as it can be.

Knows JSON. Knows nothing of HTTP or of objects. An API server writes legal JSON; but it stores some fields as its clients
write them, nested as deep as 10,000 levels, and one object that cannot be decoded would hide all others of its page.
"""

import json
import re
from typing import Final

import msgspec

DEEPEST: Final = 64
"""Levels that are kept; objects of the API that we read have a dozen. What lies deeper counts as null."""
LONGEST_NUMBER: Final = 30
"""Digits of an integer; what is longer is out of every range anyway."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def decoded(text: bytes) -> object:
    """The value; bytes that are not UTF-8 become U+FFFD. Raises ValueError for what is no JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # Slower, and takes what msgspec refuses: half surrogate pairs, numbers beyond every range, NaN.
        return json.loads(shallow(text).decode("utf-8", "replace"), parse_int=_integer)


def encoded(value: object) -> bytes:
    """JSON of a decoded value, in one line of ASCII.

    Infinity stays infinity: msgspec would write null, which means absent, and an absent port is every port.
    """
    return json.dumps(value).encode()


def shallow(text: bytes) -> bytes:
    """The same JSON, with null in place of whatever lies deeper than DEEPEST levels."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += (text[start : token.start()], b"null")
        elif first in b"]}":
            if depth == DEEPEST + 1:
                start = token.end()
            depth -= 1
    return b"".join((*kept, text[start:])) if depth <= DEEPEST else b""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_NUMBER else float(digits)
