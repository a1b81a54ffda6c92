"""Which words a message may hold: names of nodes, namespaces, pods and policies, uids, capabilities.

Knows alphabets and lengths. Knows nothing of where a word stands.
"""

import re
from typing import Final

from compilers.model.faults import InvalidField

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAMESPACE: Final = re.compile(_LABEL)
_UID: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")
_CAPABILITY: Final = re.compile(r"[a-z][-a-z0-9]*")
LONGEST_NAME: Final = 253
"""Characters of a DNS subdomain, which names of pods, policies and nodes are; a uid and a workload may be as long."""
LONGEST_LABEL: Final = 63


def subdomain(text: str) -> str:
    """The text, when it is a DNS subdomain as names of pods, policies and nodes are (RFC 1123)."""
    return _checked(text, _SUBDOMAIN, LONGEST_NAME, "a DNS subdomain")


def namespace(text: str) -> str:
    """The text, when it is a DNS label as names of namespaces are (RFC 1123)."""
    return _checked(text, _NAMESPACE, LONGEST_LABEL, "a DNS label")


def uid(text: str) -> str:
    """The text, when it is letters, digits, '-', '.' and '_', and begins with a letter or digit."""
    return _checked(text, _UID, LONGEST_NAME, "a uid")


def capability(text: str) -> str:
    """The text, when it is one lower-case word, perhaps with digits and hyphens."""
    return _checked(text, _CAPABILITY, LONGEST_LABEL, "the name of a capability")


def workload(text: str) -> str:
    """The text, when it is short enough: an owner's kind and name are free text, and only ever data."""
    if len(text) > LONGEST_NAME:
        raise InvalidField(f"has {len(text)} characters, at most {LONGEST_NAME} are accepted")
    return text


def _checked(text: str, pattern: re.Pattern[str], longest: int, what: str) -> str:
    if len(text) > longest or not pattern.fullmatch(text):
        raise InvalidField(f"is not {what} of at most {longest} characters")
    return text
