"""Objects as a `Table` document of meta.k8s.io/v1."""

import datetime
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject, alone, body_of
from policy_controller.testing.api_server.resources import Resource
from policy_controller.testing.api_server.tables.access import ACCESS_COLUMNS
from policy_controller.testing.api_server.tables.cluster import CLUSTER_COLUMNS
from policy_controller.testing.api_server.tables.columns import AGE, NAME, Column
from policy_controller.testing.api_server.tables.pods import POD_COLUMNS
from policy_controller.testing.api_server.tables.workloads import WORKLOAD_COLUMNS

COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    **ACCESS_COLUMNS,
    **CLUSTER_COLUMNS,
    **WORKLOAD_COLUMNS,
    "pods": POD_COLUMNS,
}
DEFAULT: Final = (NAME, AGE)
MALFORMED: Final = "<malformed>"
_BROKEN: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Include(enum.Enum):
    """What a row brings along of its object (`includeObject`)."""

    METADATA = "Metadata"
    NONE = "None"
    OBJECT = "Object"


@dataclass(frozen=True, slots=True)
class Table:
    """How objects are put into tables: at which moment, and what rows bring along."""

    now: datetime.datetime
    include: Include

    def document(self, resource: Resource, metadata: JsonObject, raws: Iterable[bytes]) -> JsonObject:
        """The table of these objects."""
        columns = COLUMNS.get(resource.storage, DEFAULT)
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": [column.definition() for column in columns],
            "rows": [self._row(resource, columns, raw) for raw in raws],
        }

    def _row(self, resource: Resource, columns: tuple[Column, ...], raw: bytes) -> JsonObject:
        body = body_of(raw)
        cells = [_cell(column, body, self.now) for column in columns]
        match self.include:
            case Include.NONE:
                return {"cells": cells, "object": None}
            case Include.METADATA:
                return {"cells": cells, "object": metadata_only(raw)}
            case Include.OBJECT:
                return {"cells": cells, "object": body_of(alone(resource, raw))}


def _cell(column: Column, body: JsonObject, now: datetime.datetime) -> object:
    try:
        return column.cell(body, now)
    except _BROKEN:
        # A server without validation stores what comes; a list must still show the rest.
        return MALFORMED


def metadata_only(raw: bytes) -> JsonObject:
    """A `PartialObjectMetadata`."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": body_of(raw)["metadata"],
    }
