"""The settings of the whole cluster from their ConfigMap.

Knows keys and words. A word that is not known is never guessed at: one misspelt might have meant to close, or to open.
Knows nothing of what was in force before, which is what stays when this has faults.
"""

import difflib
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeVar

from compilers.model.faults import quoted
from compilers.model.settings import ClusterSettings, Enforcement, ExistingConnections
from compilers.parse.field import Field, Origin, Parsed
from compilers.parse.identity import CONFIG_MAP, identify
from compilers.parse.places import Positions

Word = TypeVar("Word", bound=Enum)

ENFORCEMENT: Final = "enforcement"
EXISTING_CONNECTIONS: Final = "existingConnections"
KEYS: Final = frozenset({ENFORCEMENT, EXISTING_CONNECTIONS})
_NOT_YET: Final[Mapping[tuple[str, str], str]] = {
    (
        ENFORCEMENT,
        "staged",
    ): "staged is not there yet: it needs the audit log, which this version does not have"
}
_LONGEST_GUESS: Final = 40
_NOWHERE: Final[Positions] = MappingProxyType({})


def parse_settings(tree: object, origin: Origin, positions: Positions = _NOWHERE) -> Parsed[ClusterSettings]:
    """The settings that a ConfigMap holds, its missing keys at their defaults; no value when any key has a fault.

    Never raises. A ConfigMap that is not there is nobody's choice: ClusterSettings().
    """
    findings, identity = identify(tree, CONFIG_MAP, origin, positions)
    settings = None
    if identity is not None:
        chosen = identity.top.at("data")
        chosen.fields(KEYS)
        binary = identity.top.at("binaryData")
        if binary.fields():
            # kubectl writes a file that is not UTF-8 there: somebody chose something, and nobody can read it.
            binary.fault("is not read: settings are text, under data")
        settings = ClusterSettings(
            _word(chosen.at(ENFORCEMENT), Enforcement.ENFORCED),
            _word(chosen.at(EXISTING_CONNECTIONS), ExistingConnections.KEEP),
        )
    return Parsed(None if findings.count else settings, tuple(findings.faults), tuple(findings.warnings))


def _word(field: Field, default: Word) -> Word:
    """The word of the default's kind that is written here; a fault, and the default, for any other."""
    text = field.text()
    if text is None:
        return default
    words = {str(word.value): word for word in type(default)}
    if text in words:
        return words[text]
    key = str(field.path[-1])
    near = difflib.get_close_matches(text, words, 1) if len(text) <= _LONGEST_GUESS else []
    guess = f"did you mean {near[0]}?" if near else f"must be {' or '.join(words)}"
    field.fault(_NOT_YET.get((key, text), f"{quoted(text)} is no value of {key}: {guess}"))
    return default
