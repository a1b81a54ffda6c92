"""WATCH: history, synthetic beginnings, selectors, bookmarks and expiry."""

import asyncio

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.subscriptions import QUEUE_LIMIT
from policy_controller.testing.api_server.tests.raw import (
    CONFIGMAPS,
    DEADLINE,
    PODS,
    RawClient,
    configmap,
    pod,
)


async def test_watch_follows_what_happens(client: RawClient, server: ApiServer) -> None:
    version = str(server.resource_version)
    async with client.watch(CONFIGMAPS, resourceVersion=version) as watch:
        made = server.create(configmap("a"))
        added = await watch.next()
        changed = server.apply({**made, "data": {"k": "v"}})
        modified = await watch.next()
        server.create(configmap("other", namespace="kube-public"))
        server.create(pod("a"))
        server.delete("ConfigMap", "a")
        deleted = await watch.next()
    assert added == {"type": "ADDED", "object": made}
    assert modified == {"type": "MODIFIED", "object": changed}
    assert deleted is not None
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["metadata"]["resourceVersion"] == str(server.resource_version)
    assert deleted["object"]["data"] == {"k": "v"}
    assert (deleted["object"]["kind"], deleted["object"]["apiVersion"]) == ("ConfigMap", "v1")


BEGINNINGS: list[tuple[dict[str, str], list[tuple[str, str]]]] = [
    # what the request says beside its version, and the first events it must see
    ({}, [("ADDED", "b"), ("ADDED", "c")]),
    ({"resourceVersion": "0"}, [("ADDED", "b"), ("ADDED", "c")]),
    ({"resourceVersion": "{old}"}, [("DELETED", "a"), ("ADDED", "c")]),
    ({"resourceVersion": "{new}"}, []),
    (
        {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"},
        [("ADDED", "b"), ("ADDED", "c"), ("BOOKMARK", "")],
    ),
    (
        {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "{old}"},
        [("ADDED", "b"), ("ADDED", "c")],
    ),
    ({"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}, []),
    (
        {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "{old}"},
        [("DELETED", "a"), ("ADDED", "c")],
    ),
]


@pytest.mark.parametrize(("query", "first"), BEGINNINGS)
async def test_watch_begins_as_its_version_says(
    client: RawClient, server: ApiServer, query: dict[str, str], first: list[tuple[str, str]]
) -> None:
    server.create(configmap("a"))
    server.create(configmap("b"))
    old = server.resource_version
    server.delete("ConfigMap", "a")
    server.create(configmap("c"))
    filled = {name: text.format(old=old, new=server.resource_version) for name, text in query.items()}
    async with client.watch(CONFIGMAPS, **filled) as watch:
        seen = [await watch.brief() for _ in first]
        server.create(configmap("last"))
        assert seen == first
        assert await watch.brief() == ("ADDED", "last")


async def test_streamed_list_ends_with_a_marked_bookmark(client: RawClient, server: ApiServer) -> None:
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with client.watch(CONFIGMAPS, **query) as watch:
        event = await watch.next()
    assert event is not None
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert event["object"]["metadata"]["resourceVersion"] == str(server.resource_version)


async def test_object_that_leaves_the_selector_is_deleted_to_the_watcher(
    client: RawClient, server: ApiServer
) -> None:
    server.create(configmap("a", labels={"app": "x"}))
    version = str(server.resource_version)
    left = server.apply(configmap("a", labels={"app": "y"}))
    back = server.apply(configmap("a", labels={"app": "x", "more": "1"}))
    server.create(configmap("never", labels={"app": "y"}))
    server.delete("ConfigMap", "never")
    server.delete("ConfigMap", "a")
    async with client.watch(
        CONFIGMAPS, resourceVersion=version, labelSelector="app=x", timeoutSeconds="1"
    ) as watch:
        deleted, added, gone = await watch.rest()
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["metadata"]["labels"] == {"app": "x"}
    assert deleted["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
    assert added == {"type": "ADDED", "object": back}
    assert (gone["type"], gone["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x", "more": "1"})


async def test_field_selector_of_a_watch_follows_the_field(client: RawClient, server: ApiServer) -> None:
    version = str(server.resource_version)
    async with client.watch(PODS, resourceVersion=version, fieldSelector="spec.nodeName=n") as watch:
        server.create(pod("elsewhere", node="m"))
        server.create(pod("web"))
        server.apply(pod("web", node="n"))
        assert await watch.brief() == ("ADDED", "web")
        server.apply({**pod("web", node="n"), "status": {"phase": "Running"}})
        assert await watch.brief() == ("MODIFIED", "web")
        server.delete("Pod", "web")
        assert await watch.brief() == ("DELETED", "web")


async def test_one_object_is_watched_by_its_name(client: RawClient, server: ApiServer) -> None:
    server.create(configmap("a"))
    server.create(configmap("b"))
    async with client.watch("/api/v1/configmaps", fieldSelector="metadata.name=b") as watch:
        assert await watch.brief() == ("ADDED", "b")


async def test_watch_ends_at_its_timeout_with_a_bookmark(client: RawClient, server: ApiServer) -> None:
    server.create(configmap("a"))
    server.create(pod("unseen"))
    async with client.watch(CONFIGMAPS, timeoutSeconds="1", allowWatchBookmarks="true") as watch:
        events = await watch.rest()
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["kind"] == "ConfigMap"
    assert events[1]["object"]["metadata"]["resourceVersion"] == str(server.resource_version)


async def test_bookmarks_come_periodically_and_carry_versions_of_other_resources() -> None:
    async with (
        ApiServer.running(bookmark_seconds=0.05) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        client = RawClient(session)
        async with client.watch(CONFIGMAPS, allowWatchBookmarks="true") as watch:
            assert await watch.brief() == ("BOOKMARK", "")
            server.create(pod("a"))
            while (event := await watch.next()) is not None:
                if event["object"]["metadata"]["resourceVersion"] == str(server.resource_version):
                    break
            assert event is not None
        async with client.watch(CONFIGMAPS, timeoutSeconds="1") as watch:
            assert await watch.rest() == []


async def test_expired_version_is_an_error_event_in_a_good_stream(
    client: RawClient, server: ApiServer
) -> None:
    server.create(configmap("a"))
    old = str(server.resource_version)
    server.create(pod("b"))
    compacted = server.compact()
    server.create(configmap("c"))
    async with client.watch(CONFIGMAPS, resourceVersion=old) as watch:
        assert watch.code == 200
        (event,) = await watch.rest()
    assert (event["type"], event["object"]["kind"], event["object"]["code"]) == ("ERROR", "Status", 410)
    assert event["object"]["reason"] == "Expired"
    assert event["object"]["message"] == f"too old resource version: {old} ({compacted})"
    async with client.watch(CONFIGMAPS, resourceVersion=str(compacted)) as watch:
        assert await watch.brief() == ("ADDED", "c")


async def test_watch_from_a_future_version_waits_for_it(client: RawClient, server: ApiServer) -> None:
    async with client.watch(CONFIGMAPS, resourceVersion=str(server.resource_version + 1)) as watch:
        server.create(configmap("before"))
        server.create(configmap("after"))
        assert await watch.brief() == ("ADDED", "after")


async def test_server_that_closes_watches_ends_them_cleanly(client: RawClient, server: ApiServer) -> None:
    async with client.watch(CONFIGMAPS) as first, client.watch(PODS) as second:
        server.create(configmap("a"))
        server.close_watches()
        assert await first.brief() == ("ADDED", "a")
        assert await first.next() is None
        assert await second.next() is None
    await _until_watches_are(0, server, client)


async def _until_watches_are(number: int, server: ApiServer, client: RawClient) -> None:
    async with asyncio.timeout(DEADLINE):
        while server.open_watches != number:
            await client.get("/version")


async def test_watcher_that_does_not_read_is_dropped_even_in_the_middle_of_a_write(
    client: RawClient, server: ApiServer
) -> None:
    async with client.watch(CONFIGMAPS) as slow, client.watch(PODS) as other:
        for number in range(20):  # more than the sockets between them hold
            server.create({**configmap(f"large{number}"), "data": {"k": "x" * 1_000_000}})
            assert (await client.get("/version")).code == 200
        for number in range(QUEUE_LIMIT + 1):
            server.create(configmap(f"c{number}"))
        await _until_watches_are(1, server, client)
        with pytest.raises(aiohttp.ClientError):
            await slow.drain()
        server.create(pod("a"))
        assert await other.brief() == ("ADDED", "a")


async def test_watcher_that_hangs_up_is_forgotten(client: RawClient, server: ApiServer) -> None:
    async with client.watch(CONFIGMAPS):
        pass
    await _until_watches_are(0, server, client)
