"""What the server says of its kinds to clients that ask before they write."""

import pytest

from policy_controller.testing.api_server.resources import RESOURCES
from policy_controller.testing.api_server.tests.raw import RawClient

GVK = "x-kubernetes-group-version-kind"


async def test_every_kind_is_described_where_the_index_says(client: RawClient) -> None:
    index = (await client.get("/openapi/v3")).body["paths"]
    for row in RESOURCES:
        name = f"apis/{row.api_version}" if row.group else f"api/{row.version}"
        document = (await client.get(index[name]["serverRelativeURL"])).body
        gvk = {"group": row.group, "version": row.version, "kind": row.kind}
        kinds = [schema[GVK] for schema in document["components"]["schemas"].values() if GVK in schema]
        assert [gvk] in kinds
        operations = [item.get("patch", {}) for item in document["paths"].values()]
        queries = [
            {parameter["name"] for parameter in operation["parameters"]}
            for operation in operations
            if operation.get(GVK) == gvk
        ]
        if "patch" in row.verbs:
            assert queries
            assert all({"dryRun", "fieldValidation"} <= names for names in queries)


async def test_references_lead_to_schemas_of_the_same_document(client: RawClient) -> None:
    index = (await client.get("/openapi/v3")).body["paths"]
    for entry in index.values():
        async with client.session.get(entry["serverRelativeURL"]) as response:
            text = await response.text()
            document = await response.json()
        for part in text.split('"#/components/schemas/')[1:]:
            assert part.partition('"')[0] in document["components"]["schemas"]


async def test_merge_rules_are_marked(client: RawClient) -> None:
    document = (await client.get("/openapi/v3/api/v1")).body["components"]["schemas"]
    container = document["io.k8s.api.core.v1.Container"]["properties"]
    assert container["ports"] | {"items": None, "type": None} == {
        "items": None,
        "type": None,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "containerPort",
    }
    assert document["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]
    meta = document["io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"]["properties"]
    assert meta["fieldsV1"]["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.parametrize("path", ["/openapi/v3/apis/example.com/v1", "/openapi/v3/api/v2"])
async def test_what_is_not_served_is_not_described(client: RawClient, path: str) -> None:
    assert (await client.get(path)).code == 404
