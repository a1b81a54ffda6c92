"""The operator's own requests against the development API server: whole lists, and Events written once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import kr8s
import pytest
from aiohttp import web

from policy_controller.bounded import serving
from policy_controller.controller import api as module
from policy_controller.controller.api import Kr8sApi, ListError
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.seen import identity_of
from policy_controller.controller.tests.objects import new, pod, policy
from policy_controller.testing.api_server import ApiServer


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> Kr8sApi:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    return Kr8sApi(str(kubeconfig))


def names(trees: tuple[object, ...]) -> list[str]:
    """Those in the namespace of the tests."""
    found = [identity_of(tree) for tree in trees]
    return [identity.name for identity in found if identity is not None and identity.namespace == "shop"]


async def test_a_list_is_whole_over_many_pages(
    server: ApiServer, api: Kr8sApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    for number in range(10):
        server.create(new(pod(f"pod-{number}")))
    listing = await api.list(Kind.POD)
    assert names(listing.trees) == [f"pod-{number}" for number in range(10)]
    assert listing.version == server.resource_version


@pytest.mark.parametrize("kind", Kind)
async def test_listed_objects_parse(server: ApiServer, api: Kr8sApi, kind: Kind) -> None:
    server.create(new(pod("web")))
    server.create(new(policy("deny")))
    listing = await api.list(kind)
    assert listing.trees
    for tree in listing.trees:
        assert KINDS[kind].parse(tree).faults == ()


async def test_a_list_whose_moment_expires_between_pages_begins_again(
    server: ApiServer, api: Kr8sApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    for name in ("a", "b", "c"):
        server.create(new(pod(name)))
    turned = module.Kr8sApi._page

    async def page(self: Kr8sApi, kind: Kind, limit: int, token: str) -> object:
        answer = await turned(self, kind, limit, token)
        if limit and not token:
            server.delete("Pod", "a", "shop")
            server.compact()
        return answer

    monkeypatch.setattr(module.Kr8sApi, "_page", page)
    assert names((await api.list(Kind.POD)).trees) == ["b", "c"]


@asynccontextmanager
async def scripted(
    folder: Path, answers: Mapping[str, Callable[[], Awaitable[web.Response]]]
) -> AsyncIterator[Kr8sApi]:
    """The operator's requests to a server that answers `GET /api/v1/PLURAL` as told."""

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})

    async def answer(request: web.Request) -> web.Response:
        return await answers[request.match_info["plural"]]()

    application = web.Application()
    application.add_routes([web.get("/version/", version), web.get("/api/v1/{plural}", answer)])
    async with serving(application, "127.0.0.1", 0) as (host, port):
        kubeconfig = {
            "clusters": [{"name": "one", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "one", "user": {}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "current-context": "one",
        }
        (folder / "scripted").write_text(json.dumps(kubeconfig))
        yield Kr8sApi(str(folder / "scripted"))


async def test_a_kind_that_is_forbidden_ends_no_list_of_another(tmp_path: Path) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def pods() -> web.Response:
        asked.set()
        await go.wait()
        return web.json_response(
            {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [pod("web")]}
        )

    async def nodes() -> web.Response:
        return web.json_response({"kind": "Status", "metadata": {}, "message": "forbidden"}, status=403)

    async with scripted(tmp_path, {"pods": pods, "nodes": nodes}) as api, asyncio.timeout(10):
        under_way = asyncio.create_task(api.list(Kind.POD))
        await asked.wait()
        with pytest.raises(kr8s.ServerError, match="forbidden"):
            await api.list(Kind.NODE)
        go.set()
        assert names((await under_way).trees) == ["web"]


NO_LISTS: dict[str, object] = {
    "another document": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
    "a list of another kind": {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": []},
    "without items": {"kind": "NamespaceList", "metadata": {"resourceVersion": "7"}},
    "items that are no list": {"kind": "NamespaceList", "metadata": {"resourceVersion": "7"}, "items": {}},
    "without a version": {"kind": "NamespaceList", "metadata": {}, "items": []},
    "without metadata": {"kind": "NamespaceList", "items": []},
    "no object": [],
}


@pytest.mark.parametrize("document", NO_LISTS.values(), ids=list(NO_LISTS))
async def test_what_is_no_list_is_not_taken_for_one_of_nothing(tmp_path: Path, document: object) -> None:
    async def namespaces() -> web.Response:
        return web.json_response(document)

    async with scripted(tmp_path, {"namespaces": namespaces}) as api:
        with pytest.raises(ListError):
            await api.list(Kind.NAMESPACE)


async def test_an_event_that_is_there_already_is_as_good_as_written(server: ApiServer, api: Kr8sApi) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "deny.0", "namespace": "shop"},
        "involvedObject": {"kind": "NetworkPolicy", "namespace": "shop", "name": "deny"},
    }
    await api.create_event("shop", event)
    await api.create_event("shop", event)
    assert len(server.list("Event", "shop")) == 1


async def test_an_event_that_cannot_be_written_raises(api: Kr8sApi) -> None:
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "deny.0", "namespace": "absent"}}
    with pytest.raises(kr8s.ServerError):
        await api.create_event("absent", event)


async def test_kopf_gets_the_same_server(server: ApiServer, api: Kr8sApi) -> None:
    connection = await api.connection()
    assert connection.server == server.url
    assert not connection.insecure
