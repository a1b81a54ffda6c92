"""A real kopf operator against the server: it sees everything, and loses nothing when its watches break."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import kopf
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import ACCESS, DEADLINE, configmap, namespace, pod, policy


@pytest.fixture(params=list(ACCESS))
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ApiServer]:
    async with ApiServer.running(features=ACCESS[request.param]) as running:
        yield running


WATCHED = ("networkpolicies", "pods", "namespaces")


@dataclass(frozen=True, slots=True)
class Seen:
    """One call of a handler; the event is None for what an initial listing shows."""

    event: str | None
    kind: str
    namespace: str | None
    name: str
    label: str


class Operator:
    """The handlers' log, and waiting for its next entries."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Seen] = asyncio.Queue()

    async def on_event(self, type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002 - kopf's name for it
        metadata = body["metadata"]
        label = metadata.get("labels", {}).get("step", "")
        self._calls.put_nowait(Seen(type, body["kind"], metadata.get("namespace"), metadata["name"], label))

    async def sees(self, *expected: Seen) -> None:
        """Waits until each of these has been seen, in any order; others may come between."""
        missing = set(expected)
        async with asyncio.timeout(DEADLINE):
            while missing:
                missing.discard(await self._calls.get())


@contextlib.asynccontextmanager
async def running_operator(server: ApiServer, *, initial_streaming: bool) -> AsyncIterator[Operator]:
    registry, operator = kopf.OperatorRegistry(), Operator()
    settings = kopf.OperatorSettings()
    settings.watching.reconnect_backoff = 0.05
    settings.watching.initial_streaming = initial_streaming
    settings.networking.error_backoffs = [0.05] * 40

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.ConnectionInfo:
        trust = base64.b64encode(server.authority.encode()) or None
        return kopf.ConnectionInfo(server=server.url, ca_data=trust, token=server.developer_token)

    for plural in WATCHED:
        kopf.on.event(plural, registry=registry, id=plural)(operator.on_event)
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    try:
        yield operator
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE):
            await running


def _seen(event: str | None, document: dict[str, Any], label: str = "") -> Seen:
    metadata = document["metadata"]
    space = None if document["kind"] == "Namespace" else metadata.get("namespace", "default")
    return Seen(event, document["kind"], space, metadata["name"], label)


@pytest.mark.parametrize("initial_streaming", [False, True], ids=["list then watch", "streaming list"])
async def test_operator_sees_what_is_there_and_what_happens_in_all_namespaces(
    server: ApiServer, initial_streaming: bool
) -> None:
    shop = namespace("shop")
    objects = [policy("p", {}, namespace="shop"), pod("web")]
    async with running_operator(server, initial_streaming=initial_streaming) as operator:
        await operator.sees(_seen(None, namespace("default")), _seen(None, namespace("kube-system")))
        server.create(shop)
        await operator.sees(_seen("ADDED", shop))
        for document in objects:
            server.create(document)
            await operator.sees(_seen("ADDED", document))
        for document in (*objects, shop):
            changed = server.get(
                document["kind"], document["metadata"]["name"], document["metadata"].get("namespace")
            )
            changed["metadata"].setdefault("labels", {})["step"] = "2"
            server.apply(changed)
            await operator.sees(_seen("MODIFIED", document, "2"))
        for document in (*objects, shop):
            server.delete(
                document["kind"], document["metadata"]["name"], document["metadata"].get("namespace")
            )
            label = "2"
            await operator.sees(_seen("DELETED", document, label))


async def test_operator_survives_closed_watches_and_misses_nothing(server: ApiServer) -> None:
    async with running_operator(server, initial_streaming=False) as operator:
        await operator.sees(_seen(None, namespace("default")))
        for number in range(3):
            before, after = policy(f"before{number}", {}), policy(f"after{number}", {})
            server.create(before)
            await operator.sees(_seen("ADDED", before))
            server.close_watches()
            server.delete("NetworkPolicy", f"before{number}")
            server.create(after)
            await operator.sees(_seen("DELETED", before), _seen("ADDED", after))


@pytest.mark.parametrize("initial_streaming", [False, True], ids=["list then watch", "streaming list"])
async def test_operator_whose_version_expired_lists_again(server: ApiServer, initial_streaming: bool) -> None:
    kept, missed, later = policy("kept", {}), policy("missed", {}), policy("later", {})
    async with running_operator(server, initial_streaming=initial_streaming) as operator:
        await operator.sees(_seen(None, namespace("default")))
        server.create(kept)
        await operator.sees(_seen("ADDED", kept))
        server.close_watches()
        server.create(missed)
        server.create(configmap("other"))
        server.compact()
        await operator.sees(_seen(None, kept), _seen(None, missed))
        server.create(later)
        await operator.sees(_seen("ADDED", later))


async def test_operator_survives_a_server_that_goes_away_and_comes_back() -> None:
    server = ApiServer()
    missed, later = policy("missed", {}), policy("later", {})
    async with contextlib.AsyncExitStack() as running:
        async with server.listening("127.0.0.1", 0):
            port = int(server.url.rpartition(":")[2])
            operator = await running.enter_async_context(running_operator(server, initial_streaming=False))
            await operator.sees(_seen(None, namespace("default")))
        server.create(missed)
        async with server.listening("127.0.0.1", port):
            await operator.sees(_seen("ADDED", missed))
            server.create(later)
            await operator.sees(_seen("ADDED", later))
            await running.aclose()


async def test_operator_posts_events_about_objects(server: ApiServer) -> None:
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    posted = asyncio.Event()

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.ConnectionInfo:
        trust = base64.b64encode(server.authority.encode()) or None
        return kopf.ConnectionInfo(server=server.url, ca_data=trust, token=server.developer_token)

    @kopf.on.event("networkpolicies", registry=registry)
    async def complain(body: kopf.Body, **_: object) -> None:
        kopf.warn(body, reason="InvalidPolicy", message="spec.ingress[0]: is wrong")

    @kopf.on.event("v1", "events", registry=registry)
    async def notice(**_: object) -> None:
        posted.set()

    server.create(policy("p", {}))
    stop = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop)
    )
    async with asyncio.timeout(DEADLINE):
        await posted.wait()
        stop.set()
        await running
    (event,) = server.list("Event")
    assert (event["reason"], event["type"]) == ("InvalidPolicy", "Warning")
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("NetworkPolicy", "p")
