"""Which names the API server accepts: one definition for whoever reads objects and for whoever reads the wire.

Were there two, a name that the operator accepts could be one that an enforcer refuses, and with it the whole rule set.
Knows forms and lengths. Knows nothing of what is named.
"""

import re
from dataclasses import dataclass
from typing import Final

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


@dataclass(frozen=True, slots=True)
class NameForm:
    """A form of names: what it is called, what a name looks like, and how many characters it may have."""

    called: str
    pattern: re.Pattern[str]
    longest: int

    def fits(self, text: str) -> bool:
        """Whether the text is a name of this form."""
        return len(text) <= self.longest and self.pattern.fullmatch(text) is not None


DNS_LABEL: Final = NameForm("a DNS label", re.compile(_LABEL), 63)
"""Names of namespaces (RFC 1123)."""

DNS_SUBDOMAIN: Final = NameForm("a DNS subdomain", re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), 253)
"""Names of pods, policies and nodes, and prefixes of label keys (RFC 1123)."""

UID: Final = NameForm("a uid", re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*"), 253)
"""Uids: letters, digits, '-', '.' and '_' behind a letter or digit; an API server makes UUIDs."""
