"""Plain scalars: which text without quotes is a boolean, a number or nothing, as Kubernetes reads YAML.

Knows the YAML 1.1 words and number forms that sigs.k8s.io/yaml resolves. Knows nothing of documents.
Timestamps stay text and there are no sexagesimal numbers, as there.
"""

import re
from collections.abc import Mapping
from typing import Final

Scalar = str | int | float | bool | None


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.capitalize(), word.upper()


WORDS: Final[Mapping[str, Scalar]] = {
    **dict.fromkeys(["y", "Y", *_spellings("yes"), *_spellings("true"), *_spellings("on")], True),
    **dict.fromkeys(["n", "N", *_spellings("no"), *_spellings("false"), *_spellings("off")], False),
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
    **dict.fromkeys([sign + word for sign in ("", "+") for word in (".inf", ".Inf", ".INF")], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
}
BASES: Final[Mapping[str, int]] = {"0x": 16, "0X": 16, "0o": 8, "0O": 8, "0b": 2, "0B": 2}

_MAYBE_NUMBER: Final = frozenset("0123456789+-.")
_INTEGER: Final = re.compile(
    r"(?P<sign>[-+]?)(?:(?P<base>0[xX](?=[0-9a-fA-F])|0[oO](?=[0-7])|0[bB](?=[01]))(?P<digits>[0-9a-fA-F]+)"
    r"|(?P<decimal>0|[1-9][0-9]*)|0(?P<octal>[0-7]+))"
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_INTEGER: Final = 64
"""Characters; far more than any integer of the API has. Longer ones are read as floats, which no field takes."""


def plain_scalar(text: str) -> Scalar:
    """What a plain scalar stands for; the text itself when it is neither a YAML 1.1 word nor a number."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in _MAYBE_NUMBER:
        return text
    digits = text.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    return float(digits) if _FLOAT.fullmatch(digits) else text


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text) if len(text) <= _LONGEST_INTEGER else None
    if found is None:
        return None
    sign = -1 if found["sign"] == "-" else 1
    if found["decimal"]:
        return sign * int(found["decimal"])
    if found["octal"]:
        return sign * int(found["octal"], 8)
    try:
        return sign * int(found["digits"], BASES[found["base"]])
    except ValueError:
        return None
