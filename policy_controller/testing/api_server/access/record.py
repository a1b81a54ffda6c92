"""What was asked, by whom, and which rule allowed it: for tests of how little a client needs.

Knows what has been decided. Decides nothing; keeps a bounded number of rows, the same question asked again being one.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from policy_controller.testing.api_server.access.rbac import Attributes, Decision, Url, allows
from policy_controller.testing.api_server.documents import JsonObject

LIMIT: Final = 10_000
"""Rows; what does not fit any more is counted as lost."""


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was asked for: a resource in the words of RBAC, or a `path` that is none."""

    user: str
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    allowed: bool = True

    def asked(self) -> Attributes | Url:
        """What an authorizer was asked."""
        if self.path:
            return Url(self.verb, self.path)
        return Attributes(self.verb, self.group, self.resource, self.subresource, self.namespace, self.name)


class Row(msgspec.Struct, omit_defaults=True):
    """A question, by which binding it was allowed (or why not), and how many times it was asked."""

    question: Question
    reason: str = ""
    times: int = 0


class Record:
    """What one server was asked since it started, or since it was told to forget."""

    def __init__(self) -> None:
        self._rows: dict[Question, Row] = {}
        self._lost = 0

    def note(self, user: str, asked: Attributes | Url, decision: Decision) -> None:
        """Write down one request."""
        if isinstance(asked, Url):
            question = Question(user, asked.verb, path=asked.path, allowed=decision.allowed)
        else:
            question = Question(
                user,
                asked.verb,
                asked.group,
                asked.resource,
                asked.subresource,
                asked.namespace,
                asked.name,
                allowed=decision.allowed,
            )
        row = self._rows.get(question)
        if row is None:
            if len(self._rows) >= LIMIT:
                self._lost += 1
                return
            row = self._rows[question] = Row(question, decision.reason)
        row.times += 1

    @property
    def rows(self) -> tuple[Row, ...]:
        """What was asked, in the order of first questions."""
        return tuple(self._rows.values())

    @property
    def lost(self) -> int:
        """How many requests found no room."""
        return self._lost

    def forget(self) -> None:
        """Begin anew."""
        self._rows.clear()
        self._lost = 0


def unused(rules: Iterable[JsonObject], questions: Sequence[Question]) -> tuple[JsonObject, ...]:
    """What these rules of a role grant and nobody asked for: rules of one verb and one resource or path each.

    A rule with resourceNames counts as used by any question that it allows.
    """
    asked = [question.asked() for question in questions if question.allowed]
    return tuple(
        grant for rule in rules for grant in _single(rule) if not any(allows(grant, one) for one in asked)
    )


def _single(rule: JsonObject) -> Iterable[JsonObject]:
    names = {"resourceNames": rule["resourceNames"]} if rule.get("resourceNames") else {}
    for verb in rule["verbs"]:
        for url in rule.get("nonResourceURLs", []):
            yield {"nonResourceURLs": [url], "verbs": [verb]}
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                yield {"apiGroups": [group], "resources": [resource], "verbs": [verb], **names}
