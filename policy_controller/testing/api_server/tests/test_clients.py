"""Unchanged client libraries: kr8s and lightkube do what they do against the real thing."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Protocol

import kr8s
import kr8s.asyncio
import pytest
import yaml
from kr8s.asyncio import Api
from kr8s.asyncio.objects import APIObject
from kr8s.asyncio.objects import NetworkPolicy as Kr8sPolicy
from kr8s.asyncio.objects import Pod as Kr8sPod
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError as LightkubeError
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.networking_v1 import NetworkPolicyIngressRule, NetworkPolicySpec
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Event, Namespace, Node, Pod
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.types import PatchType

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.tests.raw import ACCESS, DEADLINE, pod, policy


@pytest.fixture(params=list(ACCESS))
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ApiServer]:
    async with ApiServer.running(features=ACCESS[request.param]) as running:
        yield running


@pytest.fixture
async def kr8s_api(server: ApiServer, tmp_path: Path) -> Api:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    return await kr8s.asyncio.api(kubeconfig=str(kubeconfig))


@pytest.fixture
async def lightkube(server: ApiServer) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(KubeConfig.from_dict(yaml.safe_load(server.kubeconfig())))
    yield client
    await client.close()


async def test_kr8s_creates_gets_patches_and_deletes(kr8s_api: Api) -> None:
    made = await Kr8sPolicy(policy("p", {"podSelector": {}}, namespace="default"), api=kr8s_api)
    await made.create()
    assert made.raw["spec"]["policyTypes"] == ["Ingress"]
    got = await Kr8sPolicy.get("p", api=kr8s_api)
    await got.patch({"spec": {"policyTypes": ["Egress"]}})
    await got.label({"team": "a"})
    await made.refresh()
    assert made.raw["spec"]["policyTypes"] == ["Egress"]
    assert made.labels == {"team": "a"}
    await made.patch([{"op": "remove", "path": "/metadata/labels/team"}], type="json")
    assert "labels" not in made.metadata or not made.labels
    await made.delete()
    with pytest.raises(kr8s.NotFoundError):
        await made.refresh()


async def _kr8s_names(found: AsyncIterable[object]) -> list[str]:
    return [one.name async for one in found if isinstance(one, APIObject)]


async def test_kr8s_lists_by_kind_name_and_selector_in_pages(kr8s_api: Api, server: ApiServer) -> None:
    for number in range(120):  # more than a page of kr8s, which is 100
        server.create(pod(f"web{number:03}", labels={"odd": str(number % 2)}))
    everything = await _kr8s_names(kr8s_api.get("pods", namespace=kr8s.ALL))
    assert everything == [f"web{number:03}" for number in range(120)]
    assert await _kr8s_names(kr8s_api.get("po", label_selector={"odd": "1"})) == everything[1::2]
    assert await _kr8s_names(kr8s_api.get("Pod", "web007")) == ["web007"]
    assert await _kr8s_names(kr8s_api.get("networkpolicies.networking.k8s.io")) == []


async def test_kr8s_watches(kr8s_api: Api, server: ApiServer) -> None:
    server.create(pod("first"))
    seen = []
    async with asyncio.timeout(DEADLINE):
        async for event, one in kr8s_api.watch("pods", namespace="default"):
            seen.append((event, one.name))
            match seen[-1]:
                case ("ADDED", "first"):
                    server.create(pod("second"))
                case ("ADDED", "second"):
                    server.apply({**pod("second"), "status": {"phase": "Running"}})
                case ("MODIFIED", "second"):
                    server.delete("Pod", "second")
                case _:
                    break
    assert seen == [("ADDED", "first"), ("ADDED", "second"), ("MODIFIED", "second"), ("DELETED", "second")]


async def test_kr8s_waits_for_a_condition_of_a_pod(kr8s_api: Api, server: ApiServer) -> None:
    server.create(pod("web", node="n"))
    web = await Kr8sPod.get("web", api=kr8s_api)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    waiting = asyncio.create_task(web.wait("condition=Ready", timeout=int(DEADLINE)))
    server.apply({**pod("web", node="n"), "status": ready})
    await waiting
    await web.delete()
    assert "deletionTimestamp" in server.get("Pod", "web")["metadata"]
    server.delete("Pod", "web")


class Described(Protocol):
    @property
    def metadata(self) -> ObjectMeta | None: ...


def _meta(one: Described) -> ObjectMeta:
    assert one.metadata is not None
    return one.metadata


async def _names(listing: AsyncIterable[Described]) -> list[str | None]:
    return [_meta(one).name async for one in listing]


def _policy(name: str, **labels: str) -> NetworkPolicy:
    spec = NetworkPolicySpec(podSelector=LabelSelector(), ingress=[NetworkPolicyIngressRule()])
    return NetworkPolicy(metadata=ObjectMeta(name=name, namespace="default", labels=labels), spec=spec)


async def test_lightkube_creates_gets_replaces_patches_and_deletes(lightkube: AsyncClient) -> None:
    made = await lightkube.create(_policy("p"))
    assert made.spec is not None
    assert made.spec.policyTypes == ["Ingress"]
    made.spec.policyTypes = ["Egress"]
    replaced = await lightkube.replace(made)
    with pytest.raises(LightkubeError) as conflict:
        await lightkube.replace(made)
    assert conflict.value.status.reason == "Conflict"
    labels = {"metadata": {"labels": {"a": "b"}}}
    patched = await lightkube.patch(NetworkPolicy, "p", labels, patch_type=PatchType.MERGE)
    operations = [{"op": "replace", "path": "/metadata/labels/a", "value": "c"}]
    await lightkube.patch(NetworkPolicy, "p", operations, patch_type=PatchType.JSON)
    got = await lightkube.get(NetworkPolicy, "p")
    assert (_meta(patched).labels, _meta(got).labels) == ({"a": "b"}, {"a": "c"})
    assert _meta(replaced).generation == _meta(got).generation == 2
    await lightkube.delete(NetworkPolicy, "p")
    with pytest.raises(LightkubeError) as missing:
        await lightkube.get(NetworkPolicy, "p")
    assert missing.value.status.code == 404


async def test_lightkube_decodes_every_kind_it_has(lightkube: AsyncClient, server: ApiServer) -> None:
    await lightkube.create(Namespace(metadata=ObjectMeta(name="shop")))
    await lightkube.create(Node(metadata=ObjectMeta(name="n1")))
    await lightkube.create(Lease(metadata=ObjectMeta(name="lock", namespace="shop")))
    server.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "e"},
            "involvedObject": {"namespace": "default"},
        }
    )
    spec = PodSpec(containers=[Container(name="main")], nodeName="n1")
    await lightkube.create(Pod(metadata=ObjectMeta(name="web", namespace="shop"), spec=spec))
    running = {"status": {"phase": "Running"}}
    await lightkube.patch(Pod.Status, "web", running, namespace="shop", patch_type=PatchType.MERGE)
    spaces = await _names(lightkube.list(Namespace))
    assert spaces == ["default", "kube-node-lease", "kube-public", "kube-system", "shop"]
    assert await _names(lightkube.list(Node)) == ["n1"]
    assert await _names(lightkube.list(Lease, namespace="*")) == ["lock"]
    assert await _names(lightkube.list(Event, namespace="*")) == ["e"]
    assert await _names(lightkube.list(Pod, namespace="*")) == ["web"]
    on_node = [one async for one in lightkube.list(Pod, namespace="*", fields={"spec.nodeName": "n1"})]
    assert on_node[0].status is not None
    assert on_node[0].status.phase == "Running"


async def test_lightkube_lists_in_chunks_and_watches_from_there(
    lightkube: AsyncClient, server: ApiServer
) -> None:
    for number in range(5):
        server.create(policy(f"p{number}", {}, labels={"app": "x"}))
    listing = lightkube.list(NetworkPolicy, chunk_size=2, labels={"app": "x"})
    assert await _names(listing) == [f"p{number}" for number in range(5)]
    server.create(policy("p5", {}))
    server.create(policy("p6", {}, labels={"app": "x"}))
    watch = lightkube.watch(NetworkPolicy, labels={"app": "x"}, resource_version=listing.resourceVersion)
    async with asyncio.timeout(DEADLINE):
        async for event, one in watch:
            assert (event, _meta(one).name) == ("ADDED", "p6")
            break


async def test_lightkube_is_told_that_its_version_expired(lightkube: AsyncClient, server: ApiServer) -> None:
    server.create(policy("p", {}))
    server.compact()
    with pytest.raises(LightkubeError) as gone:
        async for _ in lightkube.watch(NetworkPolicy, resource_version="2"):
            pass
    assert (gone.value.status.code, gone.value.status.reason) == (410, "Expired")
