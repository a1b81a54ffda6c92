"""A client without manners: raw HTTP, so that tests see what is really on the wire."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from policy_controller.testing.api_server.features import PLAIN, Features, Permission, Transport

DEADLINE = 10.0  # seconds until a test gives up waiting

PODS = "/api/v1/namespaces/default/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
ACCESS = {
    "open": PLAIN,
    "protected": Features(transport=Transport.TLS, permission=Permission.AUTHORIZED),
}
"""How a server may be spoken to, for tests of clients that must not mind."""

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code and decoded body."""

    code: int
    body: Any

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]

    @property
    def faults(self) -> dict[str, str]:
        """Field -> message of a 422."""
        return {cause["field"]: cause["message"] for cause in self.body["details"]["causes"]}


class WatchStream:
    """The events of one watch, one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.code = response.status
        self._content = response.content

    async def next(self) -> dict[str, Any] | None:
        """The next event; None when the stream has ended."""
        async with asyncio.timeout(DEADLINE):
            text = await self._content.readline()
        event: dict[str, Any] | None = msgspec.json.decode(text) if text else None
        return event

    async def brief(self) -> tuple[str, str] | None:
        """The next event's type and object's name."""
        event = await self.next()
        return None if event is None else (event["type"], event["object"]["metadata"].get("name", ""))

    async def drain(self) -> None:
        """Reads to the end, whatever comes."""
        async with asyncio.timeout(DEADLINE):
            while await self._content.readany():
                pass

    async def rest(self) -> list[dict[str, Any]]:
        """All events until the stream ends."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


class RawClient:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def do(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        media_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        body = None if document is None else msgspec.json.encode(document)
        headers = {"Content-Type": media_type}
        async with self.session.request(method, path, data=body, params=query, headers=headers) as response:
            return Answer(response.status, msgspec.json.decode(await response.read()))

    async def get(self, path: str, **query: str) -> Answer:
        return await self.do("GET", path, query=query)

    async def post(self, path: str, document: object) -> Answer:
        return await self.do("POST", path, document)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[WatchStream]:
        async with self.session.get(path, params={"watch": "true", **query}) as response:
            yield WatchStream(response)


def pod(
    name: str, *, node: str = "", labels: Mapping[str, str] | None = None, **metadata: object
) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "main"}]}
    if node:
        spec["nodeName"] = node
    meta = {"name": name, "labels": dict(labels or {}), **metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def policy(name: str, spec: object, **metadata: object) -> dict[str, Any]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name, **metadata}, "spec": spec}


def configmap(name: str, **metadata: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {}}


def namespace(name: str, **metadata: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}
