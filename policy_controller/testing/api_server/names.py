"""Which names, labels and ports are legal: functions that say what is wrong with a text, in the API server's words.

Pure. Each returns a list of sentences, empty when the text is legal.
"""

import re
from typing import Final

LABEL_LENGTH: Final = 63
SUBDOMAIN_LENGTH: Final = 253
PORT_NAME_LENGTH: Final = 15

_SERVICE_LABEL_RE: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_LABEL_RE: Final = re.compile(_LABEL)
_SUBDOMAIN_RE: Final = re.compile(_SUBDOMAIN)
_QUALIFIED_RE: Final = re.compile(_QUALIFIED)
_VALUE_RE: Final = re.compile(rf"({_QUALIFIED})?")
_PORT_NAME_RE: Final = re.compile(r"[-a-z0-9]+")
_LETTER_RE: Final = re.compile(r"[a-z]")


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def label_faults(text: str) -> list[str]:
    """DNS-1123 label (RFC 1123): names of namespaces and containers."""
    faults = [_too_long(LABEL_LENGTH)] if len(text) > LABEL_LENGTH else []
    if not _LABEL_RE.fullmatch(text):
        faults.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
            "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
    return faults


def service_label_faults(text: str) -> list[str]:
    """DNS-1035 label (RFC 1035): names of services."""
    faults = [_too_long(LABEL_LENGTH)] if len(text) > LABEL_LENGTH else []
    if not _SERVICE_LABEL_RE.fullmatch(text):
        faults.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    return faults


def path_segment_faults(text: str) -> list[str]:
    """Names of roles and bindings: they may hold colons, but must not change a path."""
    if text in {".", ".."}:
        return [f"may not be '{text}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in text]


def subdomain_faults(text: str) -> list[str]:
    """DNS-1123 subdomain (RFC 1123): names of most objects."""
    faults = [_too_long(SUBDOMAIN_LENGTH)] if len(text) > SUBDOMAIN_LENGTH else []
    if not _SUBDOMAIN_RE.fullmatch(text):
        faults.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    return faults


def qualified_name_faults(text: str) -> list[str]:
    """Keys of labels and annotations: an optional DNS subdomain and `/`, then a name."""
    prefix, slash, name = text.rpartition("/")
    faults: list[str] = []
    if slash:
        if not prefix:
            faults.append("prefix part must be non-empty")
        else:
            faults.extend(f"prefix part {fault}" for fault in subdomain_faults(prefix))
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > LABEL_LENGTH:
        faults.append(f"name part {_too_long(LABEL_LENGTH)}")
    if not _QUALIFIED_RE.fullmatch(name):
        faults.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return faults


def label_value_faults(text: str) -> list[str]:
    """Values of labels: empty, or like the name part of a key."""
    faults = [_too_long(LABEL_LENGTH)] if len(text) > LABEL_LENGTH else []
    if not _VALUE_RE.fullmatch(text):
        faults.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
            "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return faults


def port_name_faults(text: str) -> list[str]:
    """IANA service names (RFC 6335): names of ports."""
    faults = [f"must be no more than {PORT_NAME_LENGTH} characters"] if len(text) > PORT_NAME_LENGTH else []
    if not _PORT_NAME_RE.fullmatch(text):
        faults.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _LETTER_RE.search(text):
        faults.append("must contain at least one letter (a-z)")
    if "--" in text:
        faults.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        faults.append("must not begin or end with a hyphen")
    return faults


def port_number_faults(number: int) -> list[str]:
    """Port numbers."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]
