"""What a request asks for, in the words of RBAC."""

import pytest

from policy_controller.testing.api_server.access.attributes import attributes
from policy_controller.testing.api_server.access.rbac import Attributes, Url

ROWS: list[tuple[str, str, dict[str, str], Attributes | Url]] = [
    ("GET", "/", {}, Url("get", "/")),
    ("POST", "/api/v1", {}, Url("post", "/api/v1")),
    ("GET", "/apis/apps/v1/", {}, Url("get", "/apis/apps/v1/")),
    ("HEAD", "/api/v1/nodes/a", {}, Attributes("get", "", "nodes", name="a")),
    (
        "PUT",
        "/api/v1/namespaces/a/finalize",
        {},
        Attributes("update", "", "namespaces", "finalize", "a", "a"),
    ),
    ("PATCH", "/api/v1/namespaces/a/status", {}, Attributes("patch", "", "namespaces", "status", "a", "a")),
    ("GET", "/api/v1/namespaces", {"watch": "true"}, Attributes("watch", "", "namespaces")),
    ("GET", "/api/v1/namespaces", {"watch": "false"}, Attributes("list", "", "namespaces")),
    (
        "POST",
        "/api/v1/namespaces/a/pods/p/eviction",
        {},
        Attributes("create", "", "pods", "eviction", "a", "p"),
    ),
    (
        "GET",
        "/api/v1/pods",
        {"fieldSelector": "spec.nodeName=n,metadata.name==p"},
        Attributes("list", "", "pods", name="p"),
    ),
    ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name!=p"}, Attributes("list", "", "pods")),
]


@pytest.mark.parametrize(("method", "path", "query", "meant"), ROWS)
def test_request_is_read_as_a_real_server_reads_it(
    method: str, path: str, query: dict[str, str], meant: Attributes | Url
) -> None:
    assert attributes(method, path, query) == meant
