"""Views: stored objects as documents of one form: whole, as metadata only, or as rows of a table.

Knows how documents are put together. Knows nothing of selection or versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject, alone, body_of, encode, in_list
from policy_controller.testing.api_server.forms import Form
from policy_controller.testing.api_server.resources import Resource
from policy_controller.testing.api_server.tables import Include, Table
from policy_controller.testing.api_server.tables.rendering import metadata_only


@dataclass(frozen=True, slots=True)
class View:
    """How objects are shown; `table` says how where the form is a table."""

    form: Form = Form.PLAIN
    table: Table | None = None

    def alone(self, resource: Resource, raw: bytes) -> bytes:
        """One object: an answer, or what a watch event carries."""
        if self.table is not None:
            version = {"resourceVersion": body_of(raw)["metadata"]["resourceVersion"]}
            return encode(self.table.document(resource, version, [raw]))
        return encode(metadata_only(raw)) if self.form is Form.METADATA else alone(resource, raw)

    def page(self, resource: Resource, metadata: JsonObject, raws: Sequence[bytes]) -> bytes:
        """A list."""
        if self.table is not None:
            return encode(self.table.document(resource, metadata, raws))
        kind, api_version = f"{resource.kind}List", resource.api_version
        items = (in_list(resource, raw) for raw in raws)
        if self.form is Form.METADATA:
            kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            items = (encode(metadata_only(raw)) for raw in raws)
        head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":'.encode()
        return b"".join((head, encode(metadata), b',"items":[', b",".join(items), b"]}"))


WHOLE: Final = View()

__all__ = ["WHOLE", "Form", "Include", "Table", "View"]
