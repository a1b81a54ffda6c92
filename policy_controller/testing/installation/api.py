"""The few calls an installation's inhabitants make to the API server: create, change, delete, list.

Knows paths and status codes. Knows nothing of what the objects mean.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from policy_controller.testing.api_server.faults import Fault
from policy_controller.testing.api_server.faults.control import PATH as FAULTS
from policy_controller.testing.kubelet.client import Access

Json = dict[str, Any]

COLLECTIONS: Final[Mapping[str, str]] = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/{}clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}clusterrolebindings",
    "ConfigMap": "/api/v1/{}configmaps",
    "DaemonSet": "/apis/apps/v1/{}daemonsets",
    "Deployment": "/apis/apps/v1/{}deployments",
    "Namespace": "/api/v1/{}namespaces",
    "Role": "/apis/rbac.authorization.k8s.io/v1/{}roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}rolebindings",
    "Service": "/api/v1/{}services",
    "ServiceAccount": "/api/v1/{}serviceaccounts",
    "Event": "/api/v1/{}events",
    "Node": "/api/v1/{}nodes",
    "Pod": "/api/v1/{}pods",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}networkpolicies",
}
OF_CLUSTER: Final = frozenset({"ClusterRole", "ClusterRoleBinding", "Namespace", "Node"})
MERGE: Final = "application/merge-patch+json"


class RefusedError(Exception):
    """The API server did not do as asked; the text is its own."""


class Api:
    """A client for the server of a kubeconfig, with its credentials; an async context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        self._access = Access(kubeconfig)
        self.url = self._access.url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._access.session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session of the context."""
        if self._session is None:
            raise RuntimeError("use `async with`")
        return self._session

    async def create(self, document: Json) -> Json:
        """Create the object, and return it as it is then; one that is there already gets what the document says."""
        kind, metadata = document["kind"], document.get("metadata") or {}
        namespace, name = metadata.get("namespace") or "default", metadata.get("name")
        status, body = await self._send("POST", _path(kind, namespace), document)
        if status == 409:
            status, body = await self._send("PATCH", _path(kind, namespace, name), document)
        _check(status, body)
        return body

    async def patch(self, kind: str, namespace: str, name: str, change: Json, part: str = "") -> None:
        """Merge a change into an object, or into a part of it such as `/status`."""
        _check(*await self._send("PATCH", _path(kind, namespace, name) + part, change))

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete the object at once, without grace."""
        _check(*await self._send("DELETE", _path(kind, namespace, name) + "?gracePeriodSeconds=0", None))

    async def list(self, kind: str) -> list[Json]:
        """Every object of a kind."""
        status, body = await self._send("GET", COLLECTIONS[kind].format(""), None)
        _check(status, body)
        return list(body["items"])

    async def go_wrong(self, fault: Fault) -> None:
        """Have the API server fail as told, until the fault is over."""
        _check(*await self._send("POST", FAULTS, msgspec.to_builtins(fault)))

    async def is_failing(self) -> bool:
        """Whether a fault is in force."""
        status, body = await self._send("GET", FAULTS, None)
        _check(status, body)
        return bool(body["faults"])

    async def _send(self, method: str, path: str, document: Json | None) -> tuple[int, Json]:
        content = None if document is None else msgspec.json.encode(document)
        headers = {"Content-Type": MERGE if method == "PATCH" else "application/json"}
        async with self.session.request(method, self.url + path, data=content, headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read(), type=dict[str, Any])


def _path(kind: str, namespace: str, name: str | None = None) -> str:
    scope = "" if kind in OF_CLUSTER else f"namespaces/{namespace}/"
    return COLLECTIONS[kind].format(scope) + (f"/{name}" if name is not None else "")


def _check(status: int, body: Json) -> None:
    if status >= 300:
        raise RefusedError(str(body.get("message", body)))
