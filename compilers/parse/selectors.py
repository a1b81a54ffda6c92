"""Labels and label selectors of a tree.

Knows the syntax that meta/v1 gives them. Knows nothing of what they select.
"""

from typing import Final

from compilers.model.faults import InvalidField
from compilers.model.selector import (
    LabelSelector,
    Operator,
    Requirement,
    check_label_key,
    check_label_value,
    quoted,
)
from compilers.parse.field import Field, shown
from compilers.parse.places import part

_SELECTOR: Final = frozenset({"matchLabels", "matchExpressions"})
_REQUIREMENT: Final = frozenset({"key", "operator", "values"})
_OPERATORS: Final = {operator.value: operator for operator in Operator}


def read_labels(field: Field) -> dict[str, str]:
    """The labels that are legal; each other one is a fault and left out."""
    labels: dict[str, str] = {}
    for key, value in field.fields().items():
        entry = Field(value, (*field.path, part(key)), field.findings)
        if not isinstance(key, str):
            entry.fault(f"a label key is a string, found {shown(key)}: quote it")
        elif entry.absent:
            entry.fault('a label value is a string, found nothing (null): write "" for the empty one')
        elif (text := entry.text()) is not None:
            legal = [entry.passes(check_label_key, key), entry.passes(check_label_value, text)]
            if all(legal):
                labels[key] = text
    return labels


def read_selector(field: Field) -> LabelSelector | None:
    """The selector; None when there is none, or with faults when any part of it cannot be read."""
    if field.absent:
        return None
    before = field.findings.count
    field.fields(_SELECTOR)
    labels = read_labels(field.at("matchLabels"))
    requirements = [_read_requirement(item) for item in field.at("matchExpressions").items()]
    if field.findings.count > before:
        return None
    return LabelSelector(
        tuple(labels.items()), tuple(requirement for requirement in requirements if requirement is not None)
    )


def _read_requirement(field: Field) -> Requirement | None:
    before = field.findings.count
    if field.absent:
        field.fault("must be a mapping with key and operator, found nothing (null)")
    field.fields(_REQUIREMENT)
    key, operator, values = _read_key(field), _read_operator(field), _read_values(field.at("values"))
    if key is None or operator is None or field.findings.count > before:
        return None
    try:
        return Requirement(key, operator, values)
    except InvalidField as fault:
        field.invalid(fault)
        return None


def _read_key(field: Field) -> str | None:
    key = field.at("key")
    if key.absent and isinstance(field.value, dict):
        key.fault("is required")
    text = key.text()
    return text if text is not None and key.passes(check_label_key, text) else None


def _read_operator(field: Field) -> Operator | None:
    operator = field.at("operator")
    if operator.absent and isinstance(field.value, dict):
        operator.fault(f"is required: one of {', '.join(_OPERATORS)}")
    text = operator.text()
    if text is None:
        return None
    if text not in _OPERATORS:
        operator.fault(f"{quoted(text)} is no operator: must be one of {', '.join(_OPERATORS)}")
    return _OPERATORS.get(text)


def _read_values(field: Field) -> tuple[str, ...]:
    values: list[str] = []
    for item in field.items():
        if item.absent:
            item.fault('must be a string, found nothing (null): write "" for the empty value')
        text = item.text()
        if text is not None and item.passes(check_label_value, text):
            values.append(text)
    return tuple(values)
