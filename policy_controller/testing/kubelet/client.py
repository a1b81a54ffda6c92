"""What kubelets and controllers ask of the API server, over HTTP, and a picture of it that follows its watches.

Knows kubeconfigs, paths and watches. Knows nothing of what the objects mean. An API server that does not answer is asked again.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
import yaml

from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.doors.control import PATH as DOORS

Json = dict[str, Any]

COLLECTIONS: Final[Mapping[str, str]] = {
    "ConfigMap": "/api/v1/{}configmaps",
    "DaemonSet": "/apis/apps/v1/{}daemonsets",
    "Deployment": "/apis/apps/v1/{}deployments",
    "Node": "/api/v1/{}nodes",
    "Pod": "/api/v1/{}pods",
    "Secret": "/api/v1/{}secrets",
    "Service": "/api/v1/{}services",
    "ServiceAccount": "/api/v1/{}serviceaccounts",
}
MERGE: Final = "application/merge-patch+json"
AGAIN_SECONDS: Final = 0.2
"""Before a watch begins anew."""
LONGEST_LINE: Final = 1 << 24
CONFLICT, MISSING = 409, 404


class RefusedError(Exception):
    """The API server did not do as asked; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Access:
    """Where a kubeconfig leads and with which credentials: a token, or none."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text("utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0].get("user") or {}
        self.url: Final = str(cluster["server"]).rstrip("/")
        self.authority: Final = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
        """PEM of what the server is checked with; empty for a server without TLS."""
        self._headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}

    def session(self) -> aiohttp.ClientSession:
        """A session with these credentials; it belongs to the running loop."""
        context = ssl.create_default_context(cadata=self.authority) if self.authority else True
        return aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            read_bufsize=LONGEST_LINE,
            timeout=aiohttp.ClientTimeout(total=None, connect=10),
        )


class Client:
    """A client with the credentials of a kubeconfig; an async context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        self.access: Final = Access(kubeconfig)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self.access.session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use `async with`")
        return self._session

    async def create(self, document: Json) -> Json:
        """Create an object. Raises RefusedError."""
        path = path_of(document["kind"], document["metadata"].get("namespace", ""))
        return await self._ask("POST", path, document)

    async def patch(self, kind: str, namespace: str, name: str, change: Json, part: str = "") -> Json:
        """Merge a change into an object, or a part of it such as `/status`. Raises RefusedError."""
        return await self._ask("PATCH", path_of(kind, namespace, name) + part, change)

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """An object. Raises RefusedError."""
        return await self._ask("GET", path_of(kind, namespace, name), None)

    async def delete(self, kind: str, namespace: str, name: str, query: str = "") -> None:
        """Delete an object; one that is gone is as good. Raises RefusedError."""
        try:
            await self._ask("DELETE", path_of(kind, namespace, name) + query, None)
        except RefusedError as refusal:
            if refusal.status != MISSING:
                raise

    async def token(self, namespace: str, account: str, spec: Json) -> Json:
        """The status of a TokenRequest: `token` and `expirationTimestamp`. Raises RefusedError."""
        document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = path_of("ServiceAccount", namespace, account) + "/token"
        answer = await self._ask("POST", path, document)
        return dict(answer["status"])

    async def open_door(self, door: Door) -> None:
        """Say how a pod's ports and logs are reached; a server that does not play a kubelet's part is told nothing. Raises RefusedError."""
        try:
            await self._ask("POST", DOORS, msgspec.to_builtins(door))
        except RefusedError as refusal:
            if refusal.status != MISSING:
                raise

    async def shut_door(self, uid: str) -> None:
        """Nothing of the pod is reached any more. Raises RefusedError."""
        try:
            await self._ask("DELETE", f"{DOORS}/{uid}", None)
        except RefusedError as refusal:
            if refusal.status != MISSING:
                raise

    async def listed(self, kind: str) -> tuple[list[Json], str]:
        """All objects of a kind, and the version at which they are all. Raises RefusedError."""
        body = await self._ask("GET", path_of(kind, ""), None)
        version = body["apiVersion"]
        items = [{"apiVersion": version, "kind": kind} | item for item in body["items"] or []]
        return items, body["metadata"]["resourceVersion"]

    async def watched(self, kind: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        """What happens after a version: ADDED, MODIFIED, DELETED and the object. Ends when the server ends it."""
        path = f"{path_of(kind, '')}?watch=1&resourceVersion={version}"
        async with self._open.get(self.access.url + path) as answer:
            while line := await answer.content.readline():
                event = msgspec.json.decode(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    async def _ask(self, method: str, path: str, document: Json | None) -> Json:
        content = None if document is None else msgspec.json.encode(document)
        headers = {"Content-Type": MERGE if method == "PATCH" else "application/json"}
        async with self._open.request(
            method, self.access.url + path, data=content, headers=headers
        ) as answer:
            body = await answer.read()
            if answer.status >= 300:
                raise RefusedError(answer.status, f"{method} {path}: {body.decode('utf-8', 'replace')}")
            return dict(msgspec.json.decode(body))


class Picture:
    """The objects of some kinds as last heard; `changed` is called after each change, in the loop."""

    def __init__(self, client: Client, kinds: tuple[str, ...], changed: Callable[[], None]) -> None:
        self._client = client
        self._changed = changed
        self._held: dict[str, dict[tuple[str, str], Json]] = {kind: {} for kind in kinds}
        self._unheard = set(kinds)

    @property
    def whole(self) -> bool:
        """Whether every kind was listed."""
        return not self._unheard

    def all(self, kind: str) -> Iterator[Json]:
        """The objects of a kind, by namespace and name."""
        held = self._held[kind]
        return (held[key] for key in sorted(held))

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """One object."""
        return self._held[kind].get((namespace, name))

    def note(self, tree: Json) -> None:
        """An object as an answer showed it, before its watch tells."""
        self._put(tree["kind"], tree)

    async def follow(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._held:
                group.create_task(self._follow(kind), name=f"watch-{kind}")

    async def _follow(self, kind: str) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, RefusedError, OSError, TimeoutError):
                items, version = await self._client.listed(kind)
                self._held[kind] = {_key(item): item for item in items}
                self._unheard.discard(kind)
                self._changed()
                async for happened, tree in self._client.watched(kind, version):
                    if happened == "DELETED":
                        self._held[kind].pop(_key(tree), None)
                    else:
                        self._put(kind, {"kind": kind, **tree})
                    self._changed()
            await asyncio.sleep(AGAIN_SECONDS)

    def _put(self, kind: str, tree: Json) -> None:
        known = self._held[kind].get(_key(tree))
        # An answer may have shown a later state than the watch has reached.
        if known is None or _version(known) <= _version(tree):
            self._held[kind][_key(tree)] = tree


def path_of(kind: str, namespace: str, name: str | None = None) -> str:
    """The path of an object, or of a collection; without a namespace of the whole cluster's."""
    scope = f"namespaces/{namespace}/" if namespace else ""
    return COLLECTIONS[kind].format(scope) + (f"/{name}" if name is not None else "")


def _key(tree: Json) -> tuple[str, str]:
    return tree["metadata"].get("namespace", ""), tree["metadata"]["name"]


def _version(tree: Json) -> int:
    return int(tree["metadata"].get("resourceVersion") or 0)
