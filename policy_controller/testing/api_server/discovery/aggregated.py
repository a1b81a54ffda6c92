"""Aggregated discovery: everything that is served, in one document for /api and one for /apis.

kubectl asks for it with a media type of its own and falls back to `lists` where it is not served.
"""

from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import RESOURCES, SUBRESOURCES, Resource, Scope

CONTENT_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def aggregated_core() -> JsonObject:
    """/api."""
    return _document([_group("")])


def aggregated_groups() -> JsonObject:
    """/apis."""
    return _document([_group(name) for name in sorted({row.group for row in RESOURCES if row.group})])


def _document(items: list[JsonObject]) -> JsonObject:
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _group(name: str) -> JsonObject:
    rows = sorted((row for row in RESOURCES if row.group == name), key=lambda row: row.plural)
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_described(row) for row in rows if row.version == version],
        }
        for version in sorted({row.version for row in rows})
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}


def _described(row: Resource) -> JsonObject:
    described: JsonObject = {
        "resource": row.plural,
        "responseKind": _kind(row.api_version, row.kind),
        "scope": "Namespaced" if row.scope is Scope.NAMESPACED else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        described["shortNames"] = list(row.short_names)
    if row.categories:
        described["categories"] = list(row.categories)
    if row.subresources:
        described["subresources"] = [_described_part(row, name) for name in row.subresources]
    return described


def _described_part(row: Resource, name: str) -> JsonObject:
    part = SUBRESOURCES[name]
    return {
        "subresource": name,
        "responseKind": _kind(part.api_version or row.api_version, part.kind or row.kind),
        "verbs": list(part.verbs),
    }


def _kind(api_version: str, kind: str) -> JsonObject:
    group, _, version = api_version.rpartition("/")
    return {"group": group, "version": version, "kind": kind}
