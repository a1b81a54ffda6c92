"""Which words a message may hold: names of nodes, namespaces, pods and policies, uids, capabilities.

Knows alphabets and lengths. Knows nothing of where a word stands.
"""

import re
from typing import Final

from compilers.model.faults import InvalidField
from compilers.model.names import DNS_LABEL, DNS_SUBDOMAIN, UID, NameForm

CAPABILITY: Final = NameForm("the name of a capability", re.compile(r"[a-z][-a-z0-9]*"), 63)
BEARER: Final = NameForm("a bearer token", re.compile(r"[-A-Za-z0-9._~+/]+=*"), 16_384)
"""RFC 6750, section 2.1; tokens of service accounts have about 1,000 characters."""
LONGEST_WORKLOAD: Final = 253


def subdomain(text: str) -> str:
    """The text, when it is a DNS subdomain as names of pods, policies and nodes are (RFC 1123)."""
    return _checked(text, DNS_SUBDOMAIN)


def namespace(text: str) -> str:
    """The text, when it is a DNS label as names of namespaces are (RFC 1123)."""
    return _checked(text, DNS_LABEL)


def uid(text: str) -> str:
    """The text, when it is letters, digits, '-', '.' and '_', and begins with a letter or digit."""
    return _checked(text, UID)


def bearer(text: str) -> str:
    """The text, when it has the form of a bearer token (RFC 6750); a fault does not repeat it."""
    return _checked(text, BEARER)


def capability(text: str) -> str:
    """The text, when it is one lower-case word, perhaps with digits and hyphens."""
    return _checked(text, CAPABILITY)


def workload(text: str) -> str:
    """The text, when it is short enough: an owner's kind and name are free text, and only ever data."""
    if len(text) > LONGEST_WORKLOAD:
        raise InvalidField(f"has {len(text)} characters, at most {LONGEST_WORKLOAD} are accepted")
    return text


def _checked(text: str, form: NameForm) -> str:
    if not form.fits(text):
        raise InvalidField(f"is not {form.called} of at most {form.longest} characters")
    return text
