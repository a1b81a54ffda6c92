"""The operator's own requests against the development API server: whole lists, and Events written once."""

from pathlib import Path

import kr8s
import pytest

from policy_controller.controller import api as module
from policy_controller.controller.api import Kr8sApi
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.seen import identity_of
from policy_controller.controller.tests.conftest import new
from policy_controller.controller.tests.objects import pod, policy
from policy_controller.testing.api_server import ApiServer


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> Kr8sApi:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    return Kr8sApi(str(kubeconfig))


def names(trees: tuple[object, ...]) -> list[str]:
    found = [identity_of(tree) for tree in trees]
    return [identity.name for identity in found if identity is not None]


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
