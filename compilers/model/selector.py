"""Label selectors: which labels an object must have.

Knows labels and the four operators of meta/v1 LabelSelector. Knows nothing of what carries the labels.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from compilers.model.faults import InvalidField, quoted
from compilers.model.names import DNS_SUBDOMAIN

__all__ = [
    "EVERYTHING",
    "TAKES_VALUES",
    "LabelSelector",
    "Operator",
    "Requirement",
    "check_label_key",
    "check_label_value",
    "quoted",
]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def check_label_key(key: str) -> None:
    """Raise InvalidField unless `key` is a qualified name (Kubernetes: labels and selectors, syntax)."""
    prefix, slash, name = key.rpartition("/")
    if slash and not DNS_SUBDOMAIN.fits(prefix):
        raise InvalidField(f"label key {quoted(key)} has a prefix that is not a DNS subdomain")
    if not _NAME.fullmatch(name):
        raise InvalidField(
            f"label key {quoted(key)} is not a qualified name: at most 63 letters, digits, '-', '_' or '.', "
            "a letter or digit at both ends"
        )


def check_label_value(value: str) -> None:
    """Raise InvalidField unless `value` is empty or a legal label value (the same syntax as a key's name)."""
    if value and not _NAME.fullmatch(value):
        raise InvalidField(
            f"label value {quoted(value)} is not legal: at most 63 letters, digits, '-', '_' or '.', "
            "a letter or digit at both ends"
        )


class Operator(enum.Enum):
    """A relation between a key and values (meta/v1 LabelSelectorRequirement)."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


TAKES_VALUES: Final = frozenset({Operator.IN, Operator.NOT_IN})


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One entry of matchExpressions; values are kept sorted and without repeats."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    # A selector may hold ten thousand values and be asked about every pod.
    _chosen: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            check_label_key(self.key)
        except InvalidField as fault:
            raise fault.under(("key",)) from None
        # API: "If the operator is In or NotIn, the values array must be non-empty. If the operator is Exists or
        # DoesNotExist, the values array must be empty."
        if self.operator in TAKES_VALUES and not self.values:
            raise InvalidField(f"must not be empty for operator {self.operator.value}", ("values",))
        if self.operator not in TAKES_VALUES and self.values:
            raise InvalidField(f"must be empty for operator {self.operator.value}", ("values",))
        for index, value in enumerate(self.values):
            try:
                check_label_value(value)
            except InvalidField as fault:
                raise fault.under(("values", index)) from None
        chosen = frozenset(self.values)
        object.__setattr__(self, "_chosen", chosen)
        object.__setattr__(self, "values", tuple(sorted(chosen)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this requirement."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self._chosen
            case Operator.NOT_IN:
                # Kubernetes, "Labels and Selectors": NotIn also selects the objects that have no such key.
                return labels.get(self.key) not in self._chosen
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN | Operator.NOT_IN:
                word = "in" if self.operator is Operator.IN else "notin"
                return f"{self.key} {word} ({','.join(self.values)})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class LabelSelector:
    """All of its conditions must hold; without conditions it matches everything.

    API: "The result of matchLabels and matchExpressions are ANDed. An empty label selector matches all objects."
    Both parts are kept sorted, so that equal selectors are equal values whatever the order they were written in.
    """

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    def __post_init__(self) -> None:
        for key, value in self.match_labels:
            try:
                check_label_key(key)
                check_label_value(value)
            except InvalidField as fault:
                raise fault.under(("matchLabels", key)) from None
        keys = [key for key, _ in self.match_labels]
        if len(set(keys)) != len(keys):
            raise InvalidField("names a key twice", ("matchLabels",))
        object.__setattr__(self, "match_labels", tuple(sorted(self.match_labels)))
        object.__setattr__(self, "match_expressions", tuple(sorted(set(self.match_expressions), key=str)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    def mismatches(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The conditions these labels fail, each as `key=value` or as the requirement reads; empty when selected."""
        failed = [f"{key}={value}" for key, value in self.match_labels if labels.get(key) != value]
        failed += [
            str(requirement) for requirement in self.match_expressions if not requirement.matches(labels)
        ]
        return tuple(failed)

    def __str__(self) -> str:
        """The selector as kubectl prints it; `<all>` for the empty one."""
        parts = [f"{key}={value}" for key, value in self.match_labels]
        parts += [str(requirement) for requirement in self.match_expressions]
        return ",".join(parts) if parts else "<all>"


EVERYTHING: Final = LabelSelector()
