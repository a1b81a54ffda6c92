"""Discovery, one document for each group and version: /version, /api, /apis and below."""

from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import no_such_path
from policy_controller.testing.api_server.resources import RESOURCES, SUBRESOURCES, Resource, Scope

VERSION: Final[JsonObject] = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0-development",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}


def core_versions(address: str) -> JsonObject:
    """/api."""
    return {
        "kind": "APIVersions",
        "versions": sorted({row.version for row in RESOURCES if not row.group}),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def groups() -> JsonObject:
    """/apis."""
    names = sorted({row.group for row in RESOURCES if row.group})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in names]}


def group(name: str) -> JsonObject:
    """/apis/GROUP.

    Raises:
        ApiError: 404 for a group that is not served.
    """
    if not name or name not in {row.group for row in RESOURCES}:
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def _group(name: str) -> JsonObject:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in sorted({row.version for row in RESOURCES if row.group == name})
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[-1]}


def resources(group_name: str, version: str) -> JsonObject:
    """/api/VERSION and /apis/GROUP/VERSION.

    Raises:
        ApiError: 404 for a group or version that is not served.
    """
    rows = sorted(
        (row for row in RESOURCES if (row.group, row.version) == (group_name, version)),
        key=lambda row: row.plural,
    )
    if not rows:
        raise no_such_path()
    described = [entry for row in rows for entry in _described(row)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": rows[0].api_version,
        "resources": described,
    }


def _described(row: Resource) -> list[JsonObject]:
    whole: JsonObject = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.scope is Scope.NAMESPACED,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        whole["shortNames"] = list(row.short_names)
    if row.categories:
        whole["categories"] = list(row.categories)
    return [whole, *(_described_part(row, part) for part in row.subresources)]


def _described_part(row: Resource, name: str) -> JsonObject:
    part = SUBRESOURCES[name]
    described: JsonObject = {
        "name": f"{row.plural}/{name}",
        "singularName": "",
        "namespaced": row.scope is Scope.NAMESPACED,
        "kind": part.kind or row.kind,
        "verbs": list(part.verbs),
    }
    if part.kind:
        group, _, version = part.api_version.rpartition("/")
        described |= {"group": group, "version": version}
    return described
