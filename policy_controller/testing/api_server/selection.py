"""Which stored objects a request means: a namespace, labels and fields.

Knows how to read labels and selectable fields out of a stored text without decoding all of it. Knows nothing of
versions or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import Resource, SelectableField
from policy_controller.testing.api_server.selectors import EVERYTHING, Selector
from policy_controller.testing.api_server.store import Stored


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct):
    metadata: _Metadata


_LABELS: Final = msgspec.json.Decoder(_Labelled)


def field_value(body: JsonObject, field: SelectableField) -> str:
    """A field as a selector compares it."""
    value: object = body
    for step in field.path:
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return field.absent
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects of a resource that a list or watch shows; `namespace` None means all namespaces."""

    resource: Resource
    namespace: str | None = None
    labels: Selector = EVERYTHING
    fields: Selector = EVERYTHING

    @property
    def is_filtered(self) -> bool:
        """Whether any selector is given."""
        return self.labels != EVERYTHING or self.fields != EVERYTHING

    def matches(self, stored: Stored) -> bool:
        """Whether an object is meant."""
        if self.namespace is not None and stored.key.namespace != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(_LABELS.decode(stored.raw).metadata.labels):
            return False
        return not self.fields.requirements or self.fields.matches(self._field_values(stored))

    def _field_values(self, stored: Stored) -> Mapping[str, str]:
        values = {"metadata.name": stored.key.name, "metadata.namespace": stored.key.namespace}
        asked = {requirement.key for requirement in self.fields.requirements} - set(values)
        if asked:
            body = stored.body()
            values.update((key, field_value(body, self.resource.fields[key])) for key in asked)
        return values
