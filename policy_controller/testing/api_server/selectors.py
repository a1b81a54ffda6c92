"""labelSelector and fieldSelector of a request: text in, a predicate over a stored object's labels and fields out.

Knows the two grammars of the API's query parameters. Knows nothing of the structured selectors inside policies,
nor of storage.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.errors import ApiError, bad_request
from policy_controller.testing.api_server.names import label_value_faults, qualified_name_faults
from policy_controller.testing.api_server.resources import Resource


class Operator(enum.Enum):
    """How a requirement compares; NOT_IN and ABSENT also hold for objects that lack the key."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comma-separated term."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, pairs: Mapping[str, str]) -> bool:
        """Whether labels (or fields) satisfy this term."""
        match self.operator:
            case Operator.IN:
                return pairs.get(self.key) in self.values
            case Operator.NOT_IN:
                return pairs.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in pairs
            case Operator.ABSENT:
                return self.key not in pairs


@dataclass(frozen=True, slots=True)
class Selector:
    """All terms must hold; no terms select everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, pairs: Mapping[str, str]) -> bool:
        """Whether all terms hold."""
        return all(requirement.matches(pairs) for requirement in self.requirements)


EVERYTHING: Final = Selector()

# A comma inside parentheses separates values, any other one separates terms.
_LABEL_TERMS: Final = re.compile(r",(?![^()]*\))")
_KEY: Final = r"(?P<key>[^\s!=(),<>]+)"
_LABEL_FORMS: Final[tuple[tuple[re.Pattern[str], Operator], ...]] = (
    (re.compile(rf"!\s*{_KEY}"), Operator.ABSENT),
    (re.compile(rf"{_KEY}\s*!=\s*(?P<values>[^\s!=(),<>]*)"), Operator.NOT_IN),
    (re.compile(rf"{_KEY}\s*==?\s*(?P<values>[^\s!=(),<>]*)"), Operator.IN),
    (re.compile(rf"{_KEY}\s+notin\s*\((?P<values>[^()]*)\)"), Operator.NOT_IN),
    (re.compile(rf"{_KEY}\s+in\s*\((?P<values>[^()]*)\)"), Operator.IN),
    (re.compile(_KEY), Operator.EXISTS),
)


def parse_labels(text: str) -> Selector:
    """A labelSelector.

    Raises:
        ApiError: 400, when a term has none of the forms, or a key or value that no label could have.
    """
    terms = [term.strip() for term in _LABEL_TERMS.split(text)]
    if terms == [""]:
        return EVERYTHING
    return Selector(tuple(_label_requirement(term) for term in terms))


def _label_requirement(term: str) -> Requirement:
    for form, operator in _LABEL_FORMS:
        found = form.fullmatch(term)
        if found is None:
            continue
        key = found["key"]
        listed = found.groupdict().get("values")
        values = frozenset() if listed is None else frozenset(value.strip() for value in listed.split(","))
        faults = qualified_name_faults(key) + [
            fault for value in values for fault in label_value_faults(value)
        ]
        if faults:
            raise bad_request(f'unable to parse requirement: "{term}": {"; ".join(faults)}')
        return Requirement(key, operator, values)
    raise bad_request(f'unable to parse requirement: found "{term}"')


_FIELD_TERMS: Final = re.compile(r"(?<!\\),")
_FIELD_FORM: Final = re.compile(r"(?P<key>[^!=]+?)(?P<operator>!=|==|=)(?P<value>.*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([\\,=])")


def parse_fields(text: str, resource: Resource) -> Selector:
    """A fieldSelector of one resource; empty terms (a trailing comma) are skipped, as the real parser does.

    Raises:
        ApiError: 400, when a term is malformed or names a field that cannot be selected by.
    """
    terms = (term for term in _FIELD_TERMS.split(text) if term)
    return Selector(tuple(_field_requirement(term, text, resource) for term in terms))


def _field_requirement(term: str, text: str, resource: Resource) -> Requirement:
    found = _FIELD_FORM.fullmatch(term)
    if found is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
    key = found["key"]
    if not is_selectable(key, resource):
        raise _unsupported_field(key, text, resource)
    operator = Operator.NOT_IN if found["operator"] == "!=" else Operator.IN
    return Requirement(key, operator, frozenset({_ESCAPED.sub(r"\1", found["value"])}))


def is_selectable(key: str, resource: Resource) -> bool:
    """Whether a fieldSelector may name this field: every kind has its name and namespace, rows add more."""
    return key in {"metadata.name", "metadata.namespace"} or key in resource.fields


def _unsupported_field(key: str, text: str, resource: Resource) -> ApiError:
    where = f"{resource.group}/{resource.version}, Resource={resource.plural}"
    return bad_request(
        f'Unable to find "{where}" that match label selector "", field selector "{text}": '
        f"field label not supported: {key}"
    )
